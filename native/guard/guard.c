/* guard: the process between a supervisor and its victim.
 *
 *   guard OPTION... -- COMMAND [ARGUMENT...]
 *
 * It starts the victim under limits, waits on its pidfd, keeps the deadline, kills what the victim leaves behind, and
 * sends one struct report. It stays outside the victim's PID namespace: where there is one the victim can't see it, and
 * so neither end, stop, trace nor rob it. Two more processes stand by the victim, where it can see them: its parent, and
 * init of its namespace. What they say is believed only as far as the kernel shows the same.
 *
 * The control socket leads to the supervisor. Its end of file means that nobody listens any more, and the supervisor's
 * pidfd that it is dead, though children of its own may keep the socket open: then everything else dies too. Before each
 * signal the guard tells its intent and gives the supervisor a moment to journal it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box/victim.h"
#include "guard/charge.h"
#include "guard/freezer.h"
#include "guard/life.h"
#include "guard/proc.h"
#include "guard/signals.h"
#include "guard/survivors.h"
#include "guard/victim.h"
#include "guard/words.h"

enum { MOMENT_MS = 200, WORD_MS = 2000, SWEEP_MS = 6000, END_MS = 1000 };

/* --- the end --- */

/* Reaps one of our own processes within a time. Returns 0 or -1. */
static int reap(pid_t pid, int patience_ms) {
    const uint64_t end_ns = now_ns() + (uint64_t)patience_ms * 1000000u;
    const struct timespec moment = {.tv_nsec = 10000000};
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (now_ns() > end_ns) return -1;
        sigtimedwait(&ended, NULL, &moment);
    }
    return 0;
}

/* Ends one of our own processes. Someone may have stopped it, or frozen it. */
static void dismiss(struct life *life, pid_t *pid) {
    if (*pid <= 0) return;
    kill(*pid, SIGKILL);
    if (reap(*pid, END_MS) != 0) {
        thaw(life->proc, *pid);
        reap(*pid, END_MS);
    }
    *pid = 0;
}

/* Somebody may have stopped the process that is to answer: it is continued. */
static int ask_for_victim(int line, pid_t asked, struct word *word) {
    if (line < 0 || ask(line, &(struct word){.kind = LET_GO}) != 0) return -1;
    if (await(line, GONE, word, MOMENT_MS) != 0) {
        kill(asked, SIGCONT);
        if (await(line, GONE, word, WORD_MS) != 0) return -1;
    }
    return word->error ? -1 : 0;
}

/* Has the victim reaped by its parent. If the parent is dead, or does not answer and is killed, then by the process that
 * inherits the victim: init, or this one. */
static int let_victim_go(struct life *life, struct word *word) {
    if (ask_for_victim(life->parent.line, life->parent.pid, word) == 0) return 0;
    life->is_orphaned = 1;
    dismiss(life, &life->parent.pid);
    if (!life->init.pid) return reap_victim(life->parent.victim, word);
    return ask_for_victim(life->init.line, life->init.pid, word);
}

/* Whether the victim failed on its way to the exec: it has said so before it ended. */
static int has_failed(struct life *life) {
    struct word word;
    if (hear(life->parent.victim_line, &word, NULL, 0) != 0 || word.kind != FAILED) return 0;
    life->failure = (struct failure){word.number, word.error};
    return 1;
}

/* Whether the victim may have died of its parent, which kills it when the line between them breaks: that is no end of its
 * own. */
static int is_by_its_parent(const struct life *life, int status) {
    return life->is_orphaned && !life->report->intent && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* The victim's wait status is what the kernel shows and its parent says: one of them alone may be a lie or a mistake. */
static void see_off(struct life *life) {
    struct report *report = life->report;
    struct word word;
    int status = 0;
    enum shown shown = shown_status(life->proc, life->parent.victim, &status);
    report->ended_ns = now_ns();
    if (has_failed(life)) return;
    if (let_victim_go(life, &word) != 0)
        life->failure = (struct failure){STEP_LOST, 0};
    else if (shown == ABSENT || (shown == SHOWN && status != word.number))
        life->failure = (struct failure){STEP_DOUBT, 0};
    else if (is_by_its_parent(life, word.number))
        life->failure = (struct failure){STEP_LOST, 0};
    report->wait_status = word.number;
    report->peak_rss_bytes = word.peak_rss_bytes;
    report->cpu_us = word.cpu_us;
}

/* Without a namespace the parent kills what the victim left behind before it ends itself, and so also when the guard is
 * dead. Returns how many it killed, or -1 if it did not. */
static int hear_of_sweep(struct life *life) {
    struct word word;
    if (life->init.pid || !life->parent.pid || life->failure.step) return -1;
    return await(life->parent.line, SWEPT, &word, SWEEP_MS) == 0 ? word.survivors : -1;
}

/* Kills what is left. With the parent gone, its parent is init, or this process. */
static int sweep(struct life *life) {
    struct word word;
    if (!life->init.pid) return kill_survivors(0);
    kill(life->init.pid, SIGCONT);
    if (ask(life->init.line, &(struct word){.kind = SWEEP}) != 0) return -1;
    if (await(life->init.line, SWEPT, &word, SWEEP_MS) != 0) return -1;
    return reap(life->init.pid, END_MS) == 0 ? (life->init.pid = 0, word.survivors) : -1;
}

static void clear_away(struct life *life) {
    int swept = hear_of_sweep(life);
    if (life->parent.pid && reap(life->parent.pid, life->failure.step ? 0 : END_MS) == 0) life->parent.pid = 0;
    dismiss(life, &life->parent.pid);
    int killed = sweep(life);
    life->report->survivors = killed < 0 ? -1 : killed + (swept > 0 ? swept : 0);
    if (killed < 0 && !life->failure.step) life->failure = (struct failure){STEP_SWEEP, ETIMEDOUT};
    dismiss(life, &life->init.pid);
}

static void conclude(struct life *life) {
    struct report *report = life->report;
    if (life->has_ended) see_off(life);
    witness_end(&life->witness, report->wait_status);
    clear_away(life);
    report->had_terminal = life->terminal.borrower != 0;
    take_terminal_back(&life->terminal, WIFSIGNALED(report->wait_status));
    report->oom_kills = cgroup_oom_kills(&life->cgroups->memory);
    report->cgroup_peak_bytes = cgroup_peak_bytes(&life->cgroups->memory);
}

/* --- the start --- */

/* Version 1 has a tree for each limit. In version 2 there is one tree, and a process is in one place of it. */
static int create_cgroups(const struct order *order, struct cgroups *cgroups) {
    struct place memory = {order->cgroup_version, order->cgroup_parent, order->cgroup_name};
    struct place pids = {order->pids_version, order->pids_parent, order->cgroup_name};
    if (memory.version && memory_cgroup_create(&cgroups->memory, &memory, order->cgroup_bytes) != 0) return -1;
    if (!pids.version) return 0;
    if (pids.version == 2 && memory.version == 2) return cgroup_limit_processes(&cgroups->memory, order->processes);
    return pids_cgroup_create(&cgroups->pids, &pids, order->processes);
}

static int fail(struct life *life, enum step step) {
    life->failure = (struct failure){step, errno};
    return -1;
}

/* The victim waits for the word to go, so its pid is still its own. */
static int start_victim(struct life *life) {
    struct parent *parent = &life->parent;
    int32_t step;
    if (life->order->own_namespace && start_init(&life->init) != 0) return fail(life, STEP_NAMESPACE);
    if (start_parent(parent, life->order, life->cgroups, &step) != 0) return fail(life, (enum step)step);
    life->report->victim = parent->victim_there;
    life->report->group = parent->group_there;
    life->victim_fd = (int)syscall(SYS_pidfd_open, parent->victim, 0);
    if (life->victim_fd < 0) return fail(life, STEP_PIDFD);
    if (life->init.pid) say(life->init.line, &(struct word){.kind = CHARGE, .number = parent->victim_there});
    if (life->order->terminal == TERMINAL_AT_ONCE) lend_terminal(&life->terminal, parent->pid);
    return 0;
}

/* The witness must look before the exec, so that it misses nothing. */
static int let_victim_begin(struct life *life) {
    life->witness.victim = life->parent.victim;
    witness_begin(&life->witness);
    life->report->started_ns = now_ns();
    return say(life->parent.victim_line, &(struct word){.kind = GO}) == 0 ? 0 : fail(life, STEP_FORK);
}

/* Closes what the victim has been given: as long as we held it too, no reader would see its end when the victim closes
 * it. */
static void let_go_of_the_rest(const struct life *life) {
    const struct cgroup *memory = &life->cgroups->memory, *pids = &life->cgroups->pids;
    const struct parent *parent = &life->parent;
    const int kept[] = {life->order->control_fd, life->supervisor_fd, life->victim_fd, life->init.line, parent->line,
                        parent->victim_line,     life->terminal.fd,   life->proc,      memory->fd,      memory->parent_fd,
                        pids->fd,                pids->parent_fd};
    keep_only(kept, sizeof kept / sizeof *kept);
}

static void live(struct life *life) {
    if (start_victim(life) == 0) {
        let_go_of_the_rest(life);
        if (let_victim_begin(life) == 0) watch(life);
    }
    conclude(life);
}

/* Gives the box a name, which exists only while there is a guard to remove it. A box that was made with a name keeps it. */
static void name_box(const struct order *order) {
    char unnamed[32];
    if (!order->box_file || access(order->box_file, F_OK) == 0) return;
    snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", order->box_fd);
    linkat(AT_FDCWD, unnamed, AT_FDCWD, order->box_file, AT_SYMLINK_FOLLOW);
}

static struct failure guard(const struct order *order, int supervisor_fd, struct report *report) {
    struct cgroups cgroups = {{.fd = -1, .parent_fd = -1}, {.fd = -1, .parent_fd = -1}};
    struct life life = {.order = order, .cgroups = &cgroups, .report = report, .supervisor_fd = supervisor_fd};
    life.init.line = life.parent.line = life.parent.victim_line = -1;
    name_box(order);
    life.proc = open_proc();
    life.witness = (struct witness){.kind = order->witness, .proc = life.proc, .page = map_box(order->witness_fd)};
    life.terminal = open_terminal(order->terminal, order->supervisor);
    if (life.proc < 0)
        fail(&life, STEP_NAMESPACE);
    else if (create_cgroups(order, &cgroups) != 0)
        fail(&life, STEP_CGROUP);
    else
        live(&life);
    if (order->box_file) unlink(order->box_file);
    cgroup_remove(&cgroups.memory);
    cgroup_remove(&cgroups.pids);
    return life.failure;
}

/* Makes the guard untraceable: a victim of the same user could otherwise take the control socket out of it. */
static void settle(const struct order *order) {
    set_signals_aside();
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fcntl(order->control_fd, F_SETFD, FD_CLOEXEC);
    if (order->preload) fcntl(order->box_fd, F_SETFD, FD_CLOEXEC);
    fcntl(order->witness_fd, F_SETFD, FD_CLOEXEC);
}

/* Opens a pidfd of the supervisor. If the supervisor is still our parent afterwards, the pid was still its own when the
 * descriptor was opened. */
static int open_supervisor(const struct order *order) {
    int fd = (int)syscall(SYS_pidfd_open, order->supervisor, 0);
    return fd >= 0 && getppid() == order->supervisor ? fd : -1;
}

static int usage(void) {
    static const char text[] = "usage: guard OPTION... -- COMMAND [ARGUMENT...] (started by the supervisor only)\n";
    return write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 1 : 2;
}

int main(int argc, char **argv) {
    struct order order;
    struct report report = {.magic = REPORT_MAGIC, .oom_kills = -1, .stuck_in_oom = -1};
    if (take_order(argc, argv, &order) != 0) return usage();
    settle(&order);
    int supervisor_fd = open_supervisor(&order);
    struct failure failure = supervisor_fd < 0 ? (struct failure){STEP_PIDFD, errno} : guard(&order, supervisor_fd, &report);
    report.failed_step = failure.step;
    report.failed_errno = failure.error;
    return send(order.control_fd, &report, sizeof report, MSG_NOSIGNAL) == (ssize_t)sizeof report ? 0 : 1;
}
