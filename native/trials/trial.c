/* A trial has its own box, deadline, wait status, usage and leftovers; limits and namespace are the guard's, who contains
 * this process as a whole. */
#include "trials/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box/arming.h"
#include "box/victim.h"
#include "guard/survivors.h"

enum { TEXT_BYTES = 4096, BOX_FD = 4, FIRST_FREE_FD = 10, SOON_MS = 5 };
enum intent { INTENT_NONE, INTENT_DEADLINE };

static const uint64_t FOREVER = UINT64_MAX;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the victim's side --- */

/* A victim must not reach the supervisor's socket, nor end the server by a signal to its own group. All by syscall(),
 * since each other function of a shared C library would be another page to map, in each victim. */
static void leave_server(const struct stand *stand, pid_t parent) {
    syscall(SYS_setpgid, 0, 0);
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &stand->child_ended, NULL, _NSIG / 8);
    if (syscall(SYS_getppid) != parent) _exit(127);
}

/* The server has one thread and registers nothing to be called at a fork: the plain one leaves a child that is as
 * whole, and touches fewer pages. */
static pid_t start_warm(const struct stand *stand) {
    pid_t parent = getpid();
    pid_t victim = _Fork();
    if (victim != 0) return victim;
    leave_server(stand, parent);
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
    rearm();
    fire_at(&stand->aim);
    _exit(0);
}

static pid_t start_fresh(const struct stand *stand) {
    pid_t parent = getpid();
    pid_t victim = vfork();
    if (victim != 0) return victim;
    leave_server(stand, parent);
    if (dup2(stand->box_fd, BOX_FD) == BOX_FD) execv(stand->command[0], stand->command);
    _exit(127);
}

/* --- the server's side --- */

static void kill_group(pid_t victim, int signal_number) {
    kill(-victim, signal_number);
    kill(victim, signal_number); /* it may have left its group, or not be in it yet */
}

static void note_usage(struct trial *trial, const struct rusage *usage) {
    trial->peak_rss_bytes = (uint64_t)usage->ru_maxrss * 1024u;
    trial->cpu_us = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000u +
                    (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

/* Waits for the victim's end, and reaps it. Returns 1, 0 if the time has passed without an end, or -1. SIGCHLD is blocked,
 * so it can't come between a look and the sleep after it. It may be about another child, or the victim may have sent it: it
 * only says when to look. */
static int reap(const struct stand *stand, pid_t victim, struct trial *trial, uint64_t until_ns) {
    struct rusage usage;
    for (;;) {
        uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
        struct timespec patience = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        sigtimedwait(&stand->child_ended, NULL, until_ns == FOREVER ? NULL : &patience);
        pid_t reaped = wait4(victim, &trial->wait_status, WNOHANG, &usage);
        if (reaped == victim) return note_usage(trial, &usage), 1;
        if (reaped < 0 && errno != EINTR) return -1;
        if (now_ns() >= until_ns) return 0;
    }
}

static uint64_t after(uint64_t start_ns, int64_t span_ms) {
    return span_ms < 0 ? FOREVER : start_ns + (uint64_t)span_ms * 1000000u;
}

static int reap_in_time(const struct stand *stand, pid_t victim, struct trial *trial) {
    uint64_t deadline_ns = after(trial->started_ns, stand->deadline_ms);
    uint64_t dawdles_ns = after(trial->started_ns, SOON_MS);
    int reaped = reap(stand, victim, trial, dawdles_ns < deadline_ns ? dawdles_ns : deadline_ns);
    if (reaped != 0) return reaped;
    stand->dawdles();
    return reap(stand, victim, trial, deadline_ns);
}

/* Ends the victim as the guard does: SIGTERM, a grace, SIGKILL, while the victim is not reaped. Returns 0 or -1. */
static int see_it_end(const struct stand *stand, pid_t victim, struct trial *trial) {
    int reaped = reap_in_time(stand, victim, trial);
    if (reaped == 0) trial->intent = INTENT_DEADLINE;
    if (reaped == 0 && stand->grace_ms > 0) {
        kill_group(victim, SIGTERM);
        reaped = reap(stand, victim, trial, after(now_ns(), stand->grace_ms));
    }
    if (reaped == 0) {
        kill_group(victim, SIGKILL);
        reaped = reap(stand, victim, trial, FOREVER);
    }
    return reaped < 0 ? -1 : 0;
}

/* Orphans of the victim become children of the subreaper. Mostly there are no orphans, and one call shows that. */
static int32_t sweep(void) {
    siginfo_t none;
    if (waitid(P_ALL, 0, &none, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD) return 0;
    return kill_survivors(0);
}

/* Reads the counter of OOM kills, but only where it could have changed: reading it costs opening a file. */
static int32_t new_oom_kills(struct stand *stand, const struct trial *trial) {
    int killed = WIFSIGNALED(trial->wait_status) && WTERMSIG(trial->wait_status) == SIGKILL;
    if (!stand->cgroup.version) return -1;
    if (!killed || trial->intent != INTENT_NONE) return 0;
    int32_t before = stand->oom_kills;
    stand->oom_kills = cgroup_oom_kills(&stand->cgroup);
    return stand->oom_kills < 0 ? -1 : stand->oom_kills - before;
}

static void take_text(struct trial *trial) {
    off_t length = lseek(STDERR_FILENO, 0, SEEK_CUR);
    trial->text_bytes = length < 0 ? 0 : length > KEPT_BYTES ? KEPT_BYTES : (uint32_t)length;
    if (length == 0) return;
    if (pread(STDERR_FILENO, trial->text, trial->text_bytes, 0) < 0) trial->text_bytes = 0;
    lseek(STDERR_FILENO, 0, SEEK_SET);
}

static void reset_box(const struct stand *stand) {
    memset(stand->box, 0, sizeof *stand->box);
    stand->box->magic = BOX_MAGIC;
    stand->box->memory_limited = stand->memory_limited;
    stand->box->armed = stand->box->counts_allocations = !stand->command; /* a fork of an armed process is armed */
}

int try_once(struct stand *stand, struct trial *trial) {
    reset_box(stand);
    trial->started_ns = now_ns();
    pid_t victim = stand->command ? start_fresh(stand) : start_warm(stand);
    if (victim < 0 || see_it_end(stand, victim, trial) != 0) return -1;
    trial->ended_ns = now_ns();
    trial->survivors = sweep();
    trial->oom_kills = new_oom_kills(stand, trial);
    take_text(trial);
    trial->box = *stand->box;
    return trial->survivors < 0 ? -1 : 0;
}

/* --- before the first --- */

/* A file of fixed size: a victim can neither shrink it under us nor grow it without end. */
static int sealed_file(const char *name, off_t bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return fd;
    close(fd);
    return -1;
}

int lift(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD); }

/* Armed here, so that a warm victim inherits mapping, handlers and signal stack. A fresh one arms itself. */
static int make_box(struct stand *stand) {
    int fd = sealed_file("crash-box", BOX_BYTES);
    if (fd < 0) return -1;
    stand->box_fd = lift(fd);
    close(fd);
    const uint32_t magic = BOX_MAGIC;
    if (pwrite(stand->box_fd, &magic, sizeof magic, 0) != (ssize_t)sizeof magic || arm(stand->box_fd) != 0) return -1;
    stand->box = armed_box();
    return share_signal_stack();
}

/* Victims' stderr is a file that needs no reader; what they print is nobody's verdict. */
static int make_text(void) {
    int fd = sealed_file("crash-text", TEXT_BYTES), nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || nothing < 0) return -1;
    if (dup2(nothing, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) return -1;
    close(nothing);
    return close(fd);
}

/* SIGCHLD tells of ends alone, whatever was inherited. */
static int await_children(struct stand *stand) {
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    sigemptyset(&stand->child_ended);
    sigaddset(&stand->child_ended, SIGCHLD);
    if (sigaction(SIGCHLD, &action, NULL) != 0) return -1;
    return sigprocmask(SIG_BLOCK, &stand->child_ended, NULL);
}

int prepare(struct stand *stand) {
    stand->oom_kills = cgroup_oom_kills(&stand->cgroup);
    if (make_box(stand) != 0 || make_text() != 0 || await_children(stand) != 0) return -1;
    return prctl(PR_SET_CHILD_SUBREAPER, 1);
}
