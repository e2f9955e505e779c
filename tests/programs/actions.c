/* actions WHAT [NUMBER]: programs that ask what is to be done on a signal, in every way in which one can ask. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "named.h"

enum { SET_BYTES = 8, COUNT = 7 };

static const int crashes[COUNT] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

/* --- what sigaction() tells of what it was told --- */

static void ignore_it(int number) { (void)number; }

static void show_mask(const sigset_t *mask) {
    for (int number = 1; number < 32; number++) putchar(sigismember(mask, number) ? '1' : '0');
}

static void round_trip(long unused) {
    static const int flags[] = {0, SA_SIGINFO, SA_ONSTACK | SA_RESTART, SA_NODEFER | SA_RESETHAND, SA_NOCLDSTOP, 0x800};
    (void)unused;
    for (int i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < sizeof flags / sizeof *flags; k++) {
            struct sigaction wanted = {.sa_flags = flags[k]}, old;
            wanted.sa_handler = k % 3 == 0 ? SIG_DFL : k % 3 == 1 ? ignore_it : SIG_IGN;
            sigfillset(&wanted.sa_mask);
            sigaction(crashes[i], &wanted, NULL);
            sigaction(crashes[i], NULL, &old);
            int same = old.sa_handler == wanted.sa_handler;
            printf("%d %x %d %d ", crashes[i], (unsigned)old.sa_flags, same, old.sa_restorer != NULL);
            show_mask(&old.sa_mask);
            putchar('\n');
        }
        signal(crashes[i], SIG_DFL);
    }
    printf("%d %d\n", sigaction(SIGSEGV, NULL, NULL), sigaction(SIGKILL, &(struct sigaction){0}, NULL) == -1 && errno == EINVAL);
}

/* As the kernel has it. */
struct kernel_action {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static void by_call(int number) { (void)number, say("handled\n"), _exit(4); }

#if defined(__x86_64__)
__asm__(".text\n.type give_back, @function\ngive_back: mov $15, %eax\n\tsyscall\n");
extern void give_back(void);
enum { RESTORER = 0x04000000 };
#else
static void (*const give_back)(void) = NULL;
enum { RESTORER = 0 };
#endif

/* Through the C library's syscall(), and looked at again in both ways. */
static void raw_action(long unused) {
    struct kernel_action wanted = {by_call, RESTORER | SA_NODEFER, give_back, 1ul << (SIGUSR1 - 1)}, old = {0};
    struct sigaction seen;
    (void)unused;
    syscall(SYS_rt_sigaction, SIGSEGV, NULL, &old, SET_BYTES);
    printf("%d %lx %d %lx\n", old.handler == SIG_DFL, old.flags, old.restorer != NULL, old.mask);
    syscall(SYS_rt_sigaction, SIGSEGV, &wanted, &old, SET_BYTES);
    syscall(SYS_rt_sigaction, SIGSEGV, NULL, &old, SET_BYTES);
    printf("%d %lx %d %lx\n", old.handler == by_call, old.flags, old.restorer == give_back, old.mask);
    sigaction(SIGSEGV, NULL, &seen);
    printf("%d %d\n", seen.sa_handler == by_call, sigismember(&seen.sa_mask, SIGUSR1));
    printf("%ld %d\n", syscall(SYS_rt_sigaction, SIGSEGV, NULL, &old, 4L), errno);
    fflush(stdout);
    null();
}

static void raw_stack(long unused) {
    static char memory[1 << 16];
    stack_t own = {.ss_sp = memory, .ss_size = sizeof memory}, old;
    (void)unused;
    syscall(SYS_sigaltstack, NULL, &old);
    printf("%d %zu\n", old.ss_flags, old.ss_size);
    syscall(SYS_sigaltstack, &own, &old);
    sigaltstack(NULL, &old);
    printf("%d %zu %d\n", old.ss_flags, old.ss_size, old.ss_sp == memory);
}

/* With no library between at all. */
static void inline_action(long unused) {
    struct kernel_action wanted = {by_call, RESTORER, give_back, 0};
    (void)unused;
#if defined(__x86_64__)
    long result;
    register long size __asm__("r10") = SET_BYTES;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_rt_sigaction), "D"(SIGSEGV), "S"(&wanted), "d"(0), "r"(size) : "rcx", "r11", "memory");
#else
    syscall(SYS_rt_sigaction, SIGSEGV, &wanted, NULL, SET_BYTES);
#endif
    null();
}

/* Several reporters, each of which calls the one before. */
static struct sigaction before[3];

static void call_before(int level, int number, siginfo_t *info, void *context) {
    say(level == 0 ? "first\n" : level == 1 ? "second\n" : "third\n");
    if (before[level].sa_flags & SA_SIGINFO) before[level].sa_sigaction(number, info, context);
    else if (before[level].sa_handler == SIG_DFL) signal(number, SIG_DFL);
    else say("neither\n");
}

static void first(int number, siginfo_t *info, void *context) { call_before(0, number, info, context); }
static void second(int number, siginfo_t *info, void *context) { call_before(1, number, info, context); }
static void third(int number, siginfo_t *info, void *context) { call_before(2, number, info, context); }

static void chained(long number) {
    void (*const all[])(int, siginfo_t *, void *) = {first, second, third};
    for (int i = 0; i < 3; i++) {
        struct sigaction action = {.sa_sigaction = all[i], .sa_flags = SA_SIGINFO};
        sigaction((int)number, &action, &before[i]);
    }
    if (number == SIGSEGV) null();
    abort();
}

/* --- signals that are sent --- */

static void set(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void show_value(int number, siginfo_t *info, void *context) {
    (void)context;
    printf("%d %d %d %d\n", number, info->si_code, info->si_pid == getpid(), info->si_value.sival_int);
}

static void queued(long unused) {
    (void)unused;
    for (int i = 0; i < COUNT; i++) set(crashes[i], show_value, SA_NODEFER);
    for (int i = 0; i < COUNT; i++) sigqueue(getpid(), crashes[i], (union sigval){.sival_int = i});
    for (int i = 0; i < COUNT; i++) raise(crashes[i]);
}

static void waited_for(long unused) {
    sigset_t set;
    siginfo_t info;
    (void)unused;
    sigemptyset(&set);
    for (int i = 0; i < COUNT; i++) sigaddset(&set, crashes[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGSEGV);
    kill(getpid(), SIGABRT);
    for (int i = 0; i < 2; i++) printf("%d ", sigwaitinfo(&set, &info));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("done\n");
}

static const struct part all[] = {
    {"round_trip", round_trip}, {"raw_action", raw_action}, {"raw_stack", raw_stack},
    {"inline_action", inline_action}, {"chained", chained}, {"queued", queued}, {"waited_for", waited_for},
};

int main(int argc, char **argv) { return run_part(all, sizeof all / sizeof *all, argc, argv); }
