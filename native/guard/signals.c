#include "guard/signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ignores_ends; /* whoever ignores SIGCHLD never sees a child end */
static sigset_t blocked;

/* Resets the C library's own two signals, which sigaction() refuses. posix_spawn() leaves them ignored. */
static void reset_internal_signals(void) {
    static const unsigned long plain[8];
    for (int number = SIGSYS + 1; number < SIGRTMIN; number++)
        syscall(SYS_rt_sigaction, number, plain, NULL, NSIG / 8);
}

/* Blocks all signals. Those that are ignored may stay ignored, since a blocked signal is not seen either. */
void set_signals_aside(void) {
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    struct sigaction before;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &blocked);
    ignores_ends = sigaction(SIGCHLD, &plain, &before) == 0 && before.sa_handler == SIG_IGN;
    reset_internal_signals();
}

void give_signals_back(int clean) {
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; clean && number < NSIG; number++) signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (ignores_ends && !clean) signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, clean ? &none : &blocked, NULL);
}

int open_child_signals(void) {
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    return signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
}

void drain_child_signals(int fd) {
    struct signalfd_siginfo ended;
    while (read(fd, &ended, sizeof ended) == (ssize_t)sizeof ended) continue;
}
