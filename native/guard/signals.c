#include "guard/signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ignores_ends; /* whoever ignores SIGCHLD never sees a child end */
static sigset_t blocked;

/* Sets the C library's own two signals, which sigaction() refuses. posix_spawn() leaves them ignored, whatever they were
 * before. `ignored` has a bit for each signal, that of number 1 first. */
static void set_internal_signals(uint64_t ignored) {
    for (int number = SIGSYS + 1; number < SIGRTMIN; number++) {
        unsigned long action[8] = {ignored >> (number - 1) & 1 ? (unsigned long)SIG_IGN : (unsigned long)SIG_DFL};
        syscall(SYS_rt_sigaction, number, action, NULL, NSIG / 8);
    }
}

/* Blocks all signals. Those that are ignored may stay ignored, since a blocked signal is not seen either. */
void set_signals_aside(void) {
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    struct sigaction before;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &blocked);
    ignores_ends = sigaction(SIGCHLD, &plain, &before) == 0 && before.sa_handler == SIG_IGN;
    set_internal_signals(0);
}

void give_signals_back(int clean, uint64_t ignored) {
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; clean && number < NSIG; number++) signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (ignores_ends && !clean) signal(SIGCHLD, SIG_IGN);
    set_internal_signals(clean ? 0 : ignored);
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
