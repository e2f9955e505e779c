/* Signals: the kernel's sets have eight bytes of what a program declares. No handler is ever set here. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "box/machine.h"

enum { SET_BYTES = 8, FIRST_FREE = 34 }; /* those before it are the system library's own */

struct action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static unsigned long *word_of(sigset_t *set) { return (unsigned long *)set; }

int __libc_current_sigrtmin(void) { return FIRST_FREE; }
int sigemptyset(sigset_t *set) { return *word_of(set) = 0, 0; }
int sigfillset(sigset_t *set) { return *word_of(set) = ~(3ul << (SIGSYS)), 0; }
int sigaddset(sigset_t *set, int number) { return *word_of(set) |= 1ul << (number - 1), 0; }

static long settled(long result) { return result < 0 ? (errno = (int)-result, -1) : result; }

int sigprocmask(int how, const sigset_t *set, sigset_t *before) {
    return (int)settled(CALL(SYS_rt_sigprocmask, how, (long)set, (long)before, SET_BYTES));
}

int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    struct action now = {.handler = wanted ? wanted->sa_handler : SIG_DFL}, then = {0};
    if (number >= SIGSYS + 1 && number < FIRST_FREE) return errno = EINVAL, -1;
    long result = CALL(SYS_rt_sigaction, number, wanted ? (long)&now : 0, (long)&then, SET_BYTES);
    if (before) *before = (struct sigaction){.sa_handler = then.handler};
    return (int)settled(result);
}

void (*signal(int number, void (*handler)(int)))(int) {
    const struct sigaction wanted = {.sa_handler = handler};
    struct sigaction before;
    return sigaction(number, &wanted, &before) == 0 ? before.sa_handler : SIG_ERR;
}

int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *patience) {
    return (int)settled(CALL(SYS_rt_sigtimedwait, (long)set, (long)info, (long)patience, SET_BYTES));
}

int signalfd(int fd, const sigset_t *set, int flags) {
    return (int)settled(CALL(SYS_signalfd4, fd, (long)set, SET_BYTES, flags));
}
