#include "guard/life.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guard/freezer.h"
#include "guard/victim.h"
#include "guard/words.h"

enum { TOLD_MS = 2000, THAW_AFTER_MS = 1000, LOST_AFTER_MS = 10000 };
enum polled { VICTIM, CONTROL, SUPERVISOR, PARENT, INIT, POLLED };

static const uint64_t NEVER = UINT64_MAX;

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t after(uint64_t start_ns, int64_t span_ms) {
    return span_ms < 0 ? NEVER : start_ns + (uint64_t)span_ms * 1000000u;
}

static int milliseconds_until(uint64_t moment_ns) {
    uint64_t now = now_ns();
    if (moment_ns == NEVER) return -1;
    if (moment_ns <= now) return 0;
    uint64_t left = (moment_ns - now + 999999u) / 1000000u;
    return left > 1000000000u ? 1000000000 : (int)left;
}

/* --- signals --- */

/* Signals the group that the victim was born into: its parent leads that group, so the number can't be another's. If the
 * victim has left it, the group that it leads is signalled, or the victim alone. Nobody gets a signal twice, except for
 * SIGKILL, whose second error tells why it had no effect. */
static void signal_victim(struct life *life, int signal_number) {
    pid_t victim = life->parent.victim, group = getpgid(victim);
    kill(-life->parent.pid, signal_number);
    if (group == victim) kill(-victim, signal_number);
    if ((group != victim && group != life->parent.pid) || signal_number == SIGKILL)
        life->refusal = syscall(SYS_pidfd_send_signal, life->victim_fd, signal_number, NULL, 0) == 0 ? 0 : errno;
}

static int note(struct life *life, enum subject subject, int signal_number) {
    struct note note = {NOTE_MAGIC, subject, life->report->intent, signal_number};
    return send(life->order->control_fd, &note, sizeof note, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof note;
}

/* --- the ladder --- */

static void lose(struct life *life, enum step step, int error) {
    life->failure = (struct failure){step, error};
    life->rung = LOST;
}

static void thaw_all(struct life *life) {
    thaw(life->proc, life->parent.victim);
    thaw(life->proc, life->parent.pid);
    if (life->init.pid) thaw(life->proc, life->init.pid);
}

static void climb(struct life *life, enum rung rung);

/* Announces a signal. A supervisor that does not answer must not keep the victim alive. Whether the victim sleeps in its
 * cgroup's OOM can be asked only before the signal that wakes it. */
static void tell(struct life *life, int signal_number) {
    if (life->report->stuck_in_oom != 1) life->report->stuck_in_oom = cgroup_is_stuck(&life->cgroups->memory);
    life->alarm_ns = after(now_ns(), TOLD_MS);
    if (!note(life, NOTE_SIGNAL, signal_number)) climb(life, life->rung + 1);
}

static void climb(struct life *life, enum rung rung) {
    life->rung = rung;
    switch (rung) {
    case LIVING: life->alarm_ns = after(life->report->started_ns, life->order->deadline_ms); break;
    case TELL_TERM: tell(life, SIGTERM); break;
    case TERM:
        signal_victim(life, SIGTERM);
        life->alarm_ns = after(now_ns(), life->order->grace_ms);
        break;
    case TELL_KILL: tell(life, SIGKILL); break;
    case KILL:
        signal_victim(life, SIGKILL);
        life->alarm_ns = after(now_ns(), THAW_AFTER_MS);
        break;
    case THAW:
        thaw_all(life);
        life->alarm_ns = after(now_ns(), life->refusal == EPERM ? 0 : LOST_AFTER_MS);
        break;
    case LOST: lose(life, STEP_END, life->refusal ? life->refusal : ETIMEDOUT); break;
    }
}

static void begin_to_end(struct life *life, enum intent intent) {
    if (!life->report->intent) life->report->intent = intent;
    climb(life, life->order->grace_ms > 0 ? TELL_TERM : TELL_KILL);
}

static void ring(struct life *life) {
    if (life->rung == LIVING)
        begin_to_end(life, INTENT_DEADLINE);
    else
        climb(life, life->rung + 1);
}

/* --- words of others --- */

/* The supervisor gives the victim up. Its shell may want the terminal at once. */
static void abandon(struct life *life) {
    life->is_abandoned = 1;
    take_terminal_back(&life->terminal, 1);
    if (!life->report->intent) life->report->intent = INTENT_ABANDONED;
    if (life->rung < KILL) climb(life, KILL);
}

static void cancel(struct life *life) {
    if (life->rung == LIVING)
        begin_to_end(life, INTENT_CANCEL);
    else if (life->rung < TELL_KILL)
        climb(life, TELL_KILL); /* asked twice */
}

static void resume(struct life *life) {
    lend_terminal(&life->terminal, getpgid(life->parent.victim));
    signal_victim(life, SIGCONT);
}

/* Does what the supervisor says. An answer that comes too late is ignored. */
static void obey(struct life *life) {
    char request = ABANDON;
    if (recv(life->order->control_fd, &request, 1, MSG_DONTWAIT) < 1) request = ABANDON;
    switch (request) {
    case TOLD:
        if (life->rung == TELL_TERM || life->rung == TELL_KILL) climb(life, life->rung + 1);
        break;
    case CANCEL: cancel(life); break;
    case RESUME: resume(life); break;
    case ASK: note(life, NOTE_ALIVE, 0); break;
    default: abandon(life); break;
    }
}

/* A victim that stopped because it wants the terminal is lent it, if there is one. Otherwise the whole job stops, as its
 * user expects. */
static void stopped(struct life *life, int signal_number) {
    int wants_terminal = signal_number == SIGTTIN || signal_number == SIGTTOU;
    if (life->terminal.fd < 0) return;
    if (wants_terminal && lend_terminal(&life->terminal, getpgid(life->parent.victim))) {
        signal_victim(life, SIGCONT);
    } else {
        take_terminal_back(&life->terminal, 0);
        note(life, NOTE_STOPPED, signal_number);
    }
}

/* Hears a word from a line. Returns whether anybody still holds its other end. */
static int heed(struct life *life, int line) {
    struct word word;
    if (hear(line, &word, NULL, 0) != 0) return 0;
    if (word.kind == STOPPED) stopped(life, word.number);
    return 1;
}

/* --- the watch --- */

static void heed_all(struct life *life, struct pollfd *polled) {
    if (polled[CONTROL].revents) obey(life);
    if (polled[SUPERVISOR].revents) abandon(life);
    if (life->is_abandoned) polled[CONTROL].fd = polled[SUPERVISOR].fd = -1;
    if (polled[PARENT].revents && !heed(life, polled[PARENT].fd)) polled[PARENT].fd = -1; /* somebody inherits the victim */
    if (polled[INIT].revents && !heed(life, polled[INIT].fd)) lose(life, STEP_LOST, 0);
}

void watch(struct life *life) {
    struct pollfd polled[POLLED] = {
        [VICTIM] = {.fd = life->victim_fd, .events = POLLIN},
        [CONTROL] = {.fd = life->order->control_fd, .events = POLLIN},
        [SUPERVISOR] = {.fd = life->supervisor_fd, .events = POLLIN},
        [PARENT] = {.fd = life->parent.line, .events = POLLIN},
        [INIT] = {.fd = life->init.pid ? life->init.line : -1, .events = POLLIN},
    };
    for (climb(life, LIVING); life->rung != LOST;) {
        int ready = poll(polled, POLLED, milliseconds_until(life->alarm_ns));
        if (polled[VICTIM].revents) {
            life->has_ended = 1;
            return;
        }
        if (ready == 0) ring(life);
        heed_all(life, polled);
    }
}
