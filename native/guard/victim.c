#include "guard/victim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guard/carry.h"
#include "guard/signals.h"
#include "guard/words.h"

static int core_goes_to_a_program(void) {
    char first = 0;
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, &first, 1) < 1) first = 0;
    close(fd);
    return first == '|' || first == '@';
}

/* The soft limit alone, which a script may raise again. 1, not 0, is below any core's size, and silences a core_pattern
 * that is a program as well. */
static int limit_core(const struct order *order) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0) return -1;
    uint64_t wanted = order->core_bytes ? order->core_bytes : limit.rlim_cur || core_goes_to_a_program();
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    return setrlimit(RLIMIT_CORE, &limit);
}

static int set_limits(const struct order *order) {
    if (limit_core(order) != 0) return -1;
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        uint64_t most = order->rlimits[resource];
        if (most && setrlimit(resource, &(struct rlimit){most, most}) != 0) return -1;
    }
    return 0;
}

/* A victim of ours keeps these descriptors and no others. A foreign command keeps what we were given; our own close at its
 * exec. */
static void hand_over(const struct order *order, int line) {
    const int kept[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, order->box_fd, order->channel_fd, line};
    if (order->clean) keep_only(kept, sizeof kept / sizeof *kept);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (order->closed >> fd & 1) close(fd);
}

static _Noreturn void fail(int line, enum step step) {
    say(line, &(struct word){.kind = FAILED, .number = step, .error = errno});
    _exit(127);
}

/* Waits for the word to go. If the line ends before it, the guard is dead. A victim that is to be watched must be
 * traceable, which the guard is not. */
static void await_go(const struct order *order, int line) {
    if (order->witness) prctl(PR_SET_DUMPABLE, 1);
    if (order->witness == TRACE) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    struct word word = {.kind = HELLO, .number = getpid(), .group = getpgrp()};
    if (say(line, &word) != 0 || hear(line, &word, NULL, -1) != 0 || word.kind != GO) _exit(127);
}

void become_victim(const struct order *order, const struct cgroups *cgroups, int line) {
    await_go(order, line);
    if (cgroups_join(cgroups) != 0) fail(line, STEP_JOIN);
    if (set_limits(order) != 0) fail(line, STEP_LIMITS);
    if (order->directory && chdir(order->directory) != 0) fail(line, STEP_LIMITS);
    hand_over(order, line);
    give_signals_back(order->clean, order->ignored);
    carry_and_execute(order);
    fail(line, STEP_EXEC);
}
