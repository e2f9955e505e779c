/* System calls that are made as such. A filter for them can't be asked for when a signal has come, so it is noted when the program sets it up. */
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "box/victim.h"
#include "preload/actions.h"
#include "preload/execute.h"
#include "preload/filters.h"
#include "preload/real.h"

enum { WORDS = 6, SET_SYSCALL_USER_DISPATCH = 59 /* Linux 5.11 */ };

static int sets_filters;

int has_own_filter(void) { return sets_filters; }

static void expect_filter(int is_strict) {
    sets_filters = 1;
    note_filter();
    if (is_strict) leave_to_kernel(SIGABRT);
}

/* A program may have its system calls come to it as SIGSYS, ours among them. */
static void look_at_prctl(long operation, long word) {
    if (operation == PR_SET_SECCOMP) expect_filter(word == SECCOMP_MODE_STRICT);
    if (operation == SET_SYSCALL_USER_DISPATCH && word) note_filter();
}

INTERPOSED int prctl(int operation, ...) {
    long word[WORDS] = {operation};
    va_list list;
    va_start(list, operation);
    for (int i = 1; i < 5; i++) word[i] = va_arg(list, long);
    va_end(list);
    look_at_prctl(operation, word[1]);
    return (int)call_kernel(SYS_prctl, word);
}

static int is_exec(long number) { return number == SYS_execve || number == SYS_execveat; }

static void look_at_call(long number, const long word[WORDS]) {
    if (number == SYS_seccomp) expect_filter(word[0] == SECCOMP_SET_MODE_STRICT);
    if (number == SYS_prctl) look_at_prctl(word[0], word[1]);
    if (is_exec(number)) leave_box_behind("executed by a system call");
}

INTERPOSED long syscall(long number, ...) {
    long word[WORDS];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < WORDS; i++) word[i] = va_arg(list, long);
    va_end(list);
    long result;
    if (number == SYS_rt_sigaction && set_by_call(word, &result)) return result;
    if (number == SYS_sigaltstack) return sigaltstack((const stack_t *)word[0], (stack_t *)word[1]);
    look_at_call(number, word);
    result = call_kernel(number, word);
    if (is_exec(number)) stay_with_box();
    return result;
}
