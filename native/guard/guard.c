/* guard: the process between a supervisor and its victim.
 *
 *   guard [OPTION...] -- COMMAND [ARGUMENT...]
 *
 * It starts the victim under limits, waits on its pidfd, keeps the deadline, kills what the victim leaves
 * behind, and sends one struct report. Descriptor 3 is a socket to the supervisor: a byte on it asks for the
 * end of the victim, and its end of file means that the supervisor is dead, so everything else dies too. Before
 * each signal the guard tells its intent and gives the supervisor a moment to journal it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box/identity.h"
#include "box/victim.h"
#include "guard/carry.h"
#include "guard/cgroup.h"
#include "guard/namespace.h"
#include "guard/survivors.h"
#include "witness/witness.h"

enum { CONTROL_FD = 3, BOX_FD = 4, CHANNEL_FD = 5, WITNESS_FD = 6, REPORT_MAGIC = 0x47484331, NOTE_MAGIC = 0x47484332 };
enum { ACKNOWLEDGE_MS = 500, REMOTE_FD = 200 };


static const uint64_t NEVER = UINT64_MAX;

enum step { STEP_NONE, STEP_NAMESPACE, STEP_CGROUP, STEP_FORK, STEP_PIDFD, STEP_LIMITS, STEP_JOIN, STEP_EXEC, STEP_WAIT, STEP_SWEEP };

enum intent { INTENT_NONE, INTENT_DEADLINE, INTENT_CANCEL, INTENT_ABANDONED };

/* Sent once, at the end. Its twin is supervisor/guard.py. */
struct report {
    uint32_t magic;
    int32_t failed_step;
    int32_t failed_errno;
    int32_t wait_status;
    uint32_t intent;
    int32_t survivors;
    int32_t oom_kills;
    int32_t victim;
    int32_t stuck_in_oom;
    int32_t reserved;
    uint64_t cgroup_peak_bytes;
    uint64_t peak_rss_bytes;
    uint64_t cpu_us;
    uint64_t started_ns;
    uint64_t ended_ns;
};

/* Sent before each signal; answered by a byte once it is journalled. */
struct note {
    uint32_t magic;
    uint32_t intent;
    int32_t signal_number;
};

struct order {
    int64_t deadline_ms, grace_ms; /* deadline < 0: none */
    uint64_t data_bytes, address_bytes, cgroup_bytes;
    uint64_t processes, core_bytes;
    pid_t tag; /* names what is made outside: the guard's pid before it enters a namespace */
    int cgroup_version, pids_version, keeps_box, keeps_channel, own_namespace;
    const char *cgroup_parent, *pids_parent;
    const char *directory; /* where the victim works; NULL: here */
    const char *preload; /* the library that carries the box into a foreign command */
    const char *box_file; /* where it finds the box by name; removed at the end */
    enum witness_kind witness;
    char **command;
};

struct failure {
    int32_t step, error;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the victim's side, between fork and exec --- */

static void unblock_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int limit(int resource, uint64_t bytes) {
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    return bytes ? setrlimit(resource, &limit) : 0;
}

/* A core limit of 1, not 0, unless a core is wanted: below any core's size, and it silences a core_pattern that is a pipe as well. */
static int set_limits(const struct order *order) {
    if (limit(RLIMIT_CORE, order->core_bytes) != 0) return -1;
    if (limit(RLIMIT_DATA, order->data_bytes) != 0) return -1;
    if (limit(RLIMIT_NPROC, order->processes) != 0) return -1;
    return limit(RLIMIT_AS, order->address_bytes);
}

static void fail(int pipe_fd, enum step step) {
    struct failure failure = {step, errno};
    if (write(pipe_fd, &failure, sizeof failure) < 0) _exit(126);
    _exit(127);
}

/* A library of ours that is no box finds its page by a descriptor, out of the way of scripts, which number theirs from 3
 * on; where the limit allows it. */
static int remote_page(void) {
    int remote = fcntl(BOX_FD, F_DUPFD, REMOTE_FD);
    if (remote < 0) return BOX_FD;
    close(BOX_FD);
    return remote;
}

/* Before the program's own LD_PRELOAD, and in the victim's environment only. */
static void announce_page(const char *library) {
    char identity[IDENTITY_BYTES], fd[IDENTITY_BYTES], list[2 * PATH_MAX];
    const char *others = getenv(PRELOAD_VARIABLE);
    if (!library) return;
    int length = snprintf(list, sizeof list, "%s%s%s", library, others ? ":" : "", others ? others : "");
    if (length < 0 || (size_t)length >= sizeof list) return;
    write_identity(identity);
    snprintf(fd, sizeof fd, "%d", remote_page());
    setenv(PRELOAD_VARIABLE, list, 1);
    setenv(FD_VARIABLE, fd, 1);
    setenv(VICTIM_VARIABLE, identity, 1);
}

/* The victim's end of the line, where a second witness is to see it before its exec. It must be one that may be looked at. */
static void await_witness(const struct order *order, int line) {
    char word;
    if (order->witness == TRACE) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (order->witness && read(line, &word, 1) != 1) _exit(127);
}

static void become_victim(const struct order *order, const struct cgroups *cgroups, pid_t guard, int pipe_fd,
                          int line) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard) _exit(127); /* the guard died before the death signal was set */
    unblock_signals();
    if (cgroups_join(cgroups) != 0) fail(pipe_fd, STEP_JOIN);
    if (set_limits(order) != 0) fail(pipe_fd, STEP_LIMITS);
    if (order->directory && chdir(order->directory) != 0) fail(pipe_fd, STEP_LIMITS);
    await_witness(order, line);
    if (order->box_file) {
        fcntl(BOX_FD, F_SETFD, FD_CLOEXEC);
        carry_and_execute(&(struct carrier){order->preload, order->box_file, BOX_FD}, order->command);
        fail(pipe_fd, STEP_EXEC);
    }
    if (!order->keeps_box) close(BOX_FD);
    announce_page(order->preload);
    execvp(order->command[0], order->command);
    fail(pipe_fd, STEP_EXEC);
}

/* --- the guard's side --- */

/* Returns the victim's pid; -1 with the failure filled in. What fails in the child, its exec for one, is told through
 * `pipe_fd`, to be read once it has ended: until then it is watched like any other. */
static pid_t start_victim(const struct order *order, const struct cgroups *cgroups, struct witness *witness,
                          int *pipe_fd, struct failure *failure) {
    int ends[2], line[2];
    pid_t guard = getpid();
    *failure = (struct failure){STEP_FORK, 0};
    if (pipe2(ends, O_CLOEXEC) != 0 || pipe2(line, O_CLOEXEC) != 0) return failure->error = errno, -1;
    pid_t victim = fork();
    if (victim == 0) become_victim(order, cgroups, guard, ends[1], line[0]);
    failure->error = errno;
    witness->victim = victim;
    if (victim > 0 && witness->kind) witness_begin(witness);
    if (victim > 0 && witness->kind && write(line[1], "", 1) != 1) kill(victim, SIGKILL);
    close(line[0]);
    close(line[1]);
    close(ends[1]);
    *pipe_fd = ends[0];
    return victim;
}

static void kill_group(pid_t victim, int signal_number) {
    kill(-victim, signal_number);
    kill(victim, signal_number); /* it may have left its group */
}

/* The supervisor's word: end the victim, or nothing ever again. */
static uint32_t heard(void) {
    char byte;
    return recv(CONTROL_FD, &byte, 1, MSG_DONTWAIT) > 0 ? INTENT_CANCEL : INTENT_ABANDONED;
}

/* A supervisor that does not answer must not keep the victim alive. */
static void announce(uint32_t intent, int signal_number) {
    struct note note = {NOTE_MAGIC, intent, signal_number};
    struct pollfd control = {.fd = CONTROL_FD, .events = POLLIN};
    if (send(CONTROL_FD, &note, sizeof note, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof note) return;
    if (poll(&control, 1, ACKNOWLEDGE_MS) == 1) heard();
}

static int milliseconds_until(uint64_t moment_ns) {
    uint64_t now = now_ns();
    if (moment_ns == NEVER) return -1;
    if (moment_ns <= now) return 0;
    uint64_t left = (moment_ns - now + 999999u) / 1000000u;
    return left > 1000000000u ? 1000000000 : (int)left;
}

/* Waits until the victim has ended, and ends it where it is told to: SIGTERM, a grace, SIGKILL. The victim is
 * left unreaped, so its pid can't be another's while we still signal it. Returns the first intent. Whether it sleeps
 * in its cgroup's OOM can be asked only before the signal that wakes it. */
static uint32_t watch(const struct order *order, const struct cgroups *cgroups, int pidfd, struct report *report) {
    uint32_t intent = INTENT_NONE;
    uint64_t deadline_ns = report->started_ns + (uint64_t)order->deadline_ms * 1000000u;
    uint64_t next_ns = order->deadline_ms < 0 ? NEVER : deadline_ns;
    struct pollfd polled[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = CONTROL_FD, .events = POLLIN}};
    for (;;) {
        int ready = poll(polled, 2, milliseconds_until(next_ns));
        if (polled[0].revents) return intent;
        uint32_t word = ready > 0 ? heard() : INTENT_DEADLINE;
        int gently = !intent && word != INTENT_ABANDONED && order->grace_ms > 0;
        if (!intent) intent = word;
        if (report->stuck_in_oom != 1) report->stuck_in_oom = cgroup_is_stuck(&cgroups->memory);
        if (word != INTENT_ABANDONED) announce(intent, gently ? SIGTERM : SIGKILL);
        kill_group(report->victim, gently ? SIGTERM : SIGKILL);
        next_ns = gently ? now_ns() + (uint64_t)order->grace_ms * 1000000u : NEVER;
        if (!gently) polled[1].fd = -1; /* nothing more can be done for it */
    }
}

static int reap(pid_t victim, struct report *report) {
    struct rusage usage;
    kill(-victim, SIGKILL); /* while the unreaped victim still holds the group's number */
    if (wait4(victim, &report->wait_status, 0, &usage) != victim) return -1;
    report->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u;
    report->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return 0;
}

/* Without a pidfd nothing can be promised: the victim goes at once. */
static int open_pidfd(pid_t victim, struct failure *failure) {
    int pidfd = (int)syscall(SYS_pidfd_open, victim, 0);
    if (pidfd >= 0) return pidfd;
    *failure = (struct failure){STEP_PIDFD, errno};
    kill_group(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    return -1;
}

static struct failure attend(const struct order *order, const struct cgroups *cgroups, struct report *report) {
    struct failure failure;
    int pipe_fd = -1;
    struct witness witness = {.kind = order->witness, .proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (order->witness) witness.page = map_box(WITNESS_FD);
    report->started_ns = now_ns();
    report->victim = start_victim(order, cgroups, &witness, &pipe_fd, &failure);
    int pidfd = report->victim < 0 ? -1 : open_pidfd(report->victim, &failure);
    if (pidfd < 0) return failure;
    report->intent = watch(order, cgroups, pidfd, report);
    report->ended_ns = now_ns();
    if (reap(report->victim, report) != 0) return (struct failure){STEP_WAIT, errno};
    witness_end(&witness, report->wait_status);
    if (read(pipe_fd, &failure, sizeof failure) == (ssize_t)sizeof failure) return failure;
    report->survivors = kill_survivors(order->own_namespace);
    report->oom_kills = cgroup_oom_kills(&cgroups->memory);
    report->cgroup_peak_bytes = cgroup_peak_bytes(&cgroups->memory);
    return (struct failure){report->survivors < 0 ? STEP_SWEEP : STEP_NONE, 0};
}

static int usage(void) {
    static const char text[] = "usage: guard [OPTION...] -- COMMAND [ARGUMENT...] (started by the supervisor only)\n";
    return write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 1 : 2;
}

static const struct option options[] = {
    {"deadline-ms", required_argument, NULL, 'd'},    {"grace-ms", required_argument, NULL, 'g'},
    {"data-bytes", required_argument, NULL, 'D'},     {"address-bytes", required_argument, NULL, 'A'},
    {"cgroup-bytes", required_argument, NULL, 'B'},   {"cgroup-version", required_argument, NULL, 'V'},
    {"cgroup-parent", required_argument, NULL, 'P'},  {"box", no_argument, NULL, 'b'},
    {"pids-parent", required_argument, NULL, 'Q'},    {"processes", required_argument, NULL, 'p'},
    {"pids-version", required_argument, NULL, 'R'},
    {"namespace", no_argument, NULL, 'n'},            {"preload", required_argument, NULL, 'L'},
    {"channel", no_argument, NULL, 'h'},              {"box-file", required_argument, NULL, 'F'},
    {"witness", required_argument, NULL, 'w'},
    {"core-bytes", required_argument, NULL, 'c'},     {"directory", required_argument, NULL, 'C'},
    {NULL, 0, NULL, 0},
};

static int take_order(int argc, char **argv, struct order *order) {
    *order = (struct order){.deadline_ms = -1, .tag = getpid(), .core_bytes = 1};
    for (int letter; (letter = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (letter) {
        case 'd': order->deadline_ms = strtoll(optarg, NULL, 10); break;
        case 'g': order->grace_ms = strtoll(optarg, NULL, 10); break;
        case 'D': order->data_bytes = strtoull(optarg, NULL, 10); break;
        case 'A': order->address_bytes = strtoull(optarg, NULL, 10); break;
        case 'B': order->cgroup_bytes = strtoull(optarg, NULL, 10); break;
        case 'V': order->cgroup_version = (int)strtol(optarg, NULL, 10); break;
        case 'P': order->cgroup_parent = optarg; break;
        case 'Q': order->pids_parent = optarg; break;
        case 'R': order->pids_version = (int)strtol(optarg, NULL, 10); break;
        case 'p': order->processes = strtoull(optarg, NULL, 10); break;
        case 'b': order->keeps_box = 1; break;
        case 'L': order->preload = optarg; break;
        case 'h': order->keeps_channel = 1; break;
        case 'F': order->box_file = optarg; break;
        case 'w': order->witness = strcmp(optarg, "trace") == 0 ? TRACE : PERF; break;
        case 'c': order->core_bytes = strtoull(optarg, NULL, 10); break;
        case 'C': order->directory = optarg; break;
        case 'n': order->own_namespace = 1; break;
        default: return -1;
        }
    }
    order->command = argv + optind;
    return optind < argc ? 0 : -1;
}

/* Nothing but the supervisor's socket ends the guard: a stray SIGTERM must not orphan the victim. An inherited
 * SIG_IGN for SIGCHLD would have the kernel reap the victim and lose its status. */
static void settle(const struct order *order) {
    sigset_t all;
    for (int signal_number = 1; signal_number < NSIG; signal_number++) signal(signal_number, SIG_DFL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (!order->keeps_channel) close(CHANNEL_FD);
    if (!order->witness) close(WITNESS_FD);
    syscall(SYS_close_range, WITNESS_FD + 1, ~0u, 0);
    fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    fcntl(WITNESS_FD, F_SETFD, FD_CLOEXEC);
}

/* Version 1 has a tree for each limit. In version 2 there is one tree, and a process is in one place of it. */
static int create_cgroups(const struct order *order, struct cgroups *cgroups) {
    struct place memory = {order->cgroup_version, order->cgroup_parent, order->tag};
    struct place pids = {order->pids_version, order->pids_parent, order->tag};
    if (memory.version && memory_cgroup_create(&cgroups->memory, &memory, order->cgroup_bytes) != 0) return -1;
    if (!pids.version) return 0;
    if (pids.version == 2 && memory.version == 2) return cgroup_limit_processes(&cgroups->memory, order->processes);
    return pids_cgroup_create(&cgroups->pids, &pids, order->processes);
}

static struct failure guard(const struct order *order, struct report *report) {
    struct cgroups cgroups = {0};
    struct failure failure = {STEP_CGROUP, 0};
    if (create_cgroups(order, &cgroups) == 0)
        failure = attend(order, &cgroups, report);
    else
        failure.error = errno;
    cgroup_remove(&cgroups.memory);
    cgroup_remove(&cgroups.pids);
    if (order->box_file) unlink(order->box_file);
    return failure;
}

/* From here on it is the guard that runs: in its own namespace if so ordered, else in this one. */
static int enter(const struct order *order, struct failure *failure) {
    if (!order->own_namespace) return 0;
    if (enter_namespace() == 0) return 0;
    *failure = (struct failure){STEP_NAMESPACE, errno};
    return -1;
}

int main(int argc, char **argv) {
    struct order order;
    struct failure failure;
    struct report report = {.magic = REPORT_MAGIC, .oom_kills = -1, .stuck_in_oom = -1};
    if (take_order(argc, argv, &order) != 0) return usage();
    settle(&order);
    if (enter(&order, &failure) == 0) failure = guard(&order, &report);
    report.failed_step = failure.step;
    report.failed_errno = failure.error;
    return send(CONTROL_FD, &report, sizeof report, MSG_NOSIGNAL) == (ssize_t)sizeof report ? 0 : 1;
}
