/* The sweep's server: a process that has loaded the swept code forks a child for each trial, at the call.
 *
 * The loop is in C and asks for no memory, so that each child starts from the same heap: what Python leaves behind
 * between two forks would move the count. The script around it is harness/child/swept.py. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "trials/sweep.h"
#include "trials/sweep_turns.h"

enum { CHANNEL_FD = 5, TAIL_BYTES = 4096 };

/* From the supervisor: one trial, as the page orders it. */
struct request {
    int64_t deadline_ms;   /* < 0: none */
    int64_t last_words_ms; /* what one that hangs may take to say where */
};

/* To the supervisor: a word of the script's, or how a trial ended. */
struct reply {
    int32_t wait_status;
    uint32_t hung;
    uint32_t tail_bytes;
    uint32_t word;
    char tail[TAIL_BYTES]; /* the last of what it said on stderr */
};

static int channel = -1, errors[2] = {-1, -1};
static struct reply reply;
static struct nest nest = {.bell = -1};

struct child {
    pid_t pid;
    int pidfd;
    uint32_t number;
};

/* --- what the script calls --- */

INTERPOSED const char *sweep_order(long *bytes) {
    *bytes = sweep ? (long)sweep->order.text_bytes : -1;
    return sweep ? sweep->order.text : NULL;
}

/* Writes a text into the page, and cuts it where the page is full. */
INTERPOSED void sweep_tell(const char *text, long bytes) {
    size_t room = sizeof sweep->answer.text - 1, kept = (size_t)bytes < room ? (size_t)bytes : room;
    memcpy(sweep->answer.text, text, kept);
    sweep->answer.text[kept] = '\0';
}

INTERPOSED int sweep_say(unsigned word) {
    if (channel < 0) channel = fcntl(CHANNEL_FD, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (channel >= 0) close(CHANNEL_FD);
    reply = (struct reply){.word = word};
    return send(channel, &reply, sizeof reply, MSG_NOSIGNAL) == (ssize_t)sizeof reply ? 0 : -1;
}

/* Bounds the private writable memory of each child, so that a call that asks without end does not take the machine. */
INTERPOSED void sweep_bound(unsigned long bytes) { nest.data_bytes = bytes; }

INTERPOSED void *sweep_call(void *(*call)(void *), void *function) {
    open_window();
    void *result = call(function);
    close_window();
    return result;
}

INTERPOSED void sweep_next(void) { sweep->answer.stage = IN_NEXT_CALL; }

/* --- the server --- */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads stderr, and keeps the end of it. Returns 0 when there is nothing to read now. */
static int hear_errors(void) {
    char chunk[TAIL_BYTES];
    ssize_t length = read(errors[0], chunk, sizeof chunk);
    if (length <= 0) return 0;
    size_t kept = reply.tail_bytes, room = TAIL_BYTES - (size_t)length;
    if (kept > room) memmove(reply.tail, reply.tail + kept - room, room);
    if (kept > room) kept = room;
    memcpy(reply.tail + kept, chunk, (size_t)length);
    reply.tail_bytes = (uint32_t)(kept + (size_t)length);
    return 1;
}

/* Whether a child has nothing left to do but to leave. Its bell only says when to look. */
static int has_ended(const struct child *child) {
    return __atomic_load_n(&nest.turns->ended, __ATOMIC_ACQUIRE) == child->number;
}

/* Waits until the child has ended, or its time is over. */
static void follow(const struct child *child, int64_t deadline_ms) {
    struct pollfd polled[3] = {{.fd = child->pidfd, .events = POLLIN},
                               {.fd = errors[0], .events = POLLIN},
                               {.fd = nest.bell, .events = POLLIN}};
    int64_t end = now_ms() + deadline_ms;
    eventfd_t rung;
    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : end > now_ms() ? end - now_ms() : 0;
        int ready = poll(polled, 3, left > 1000000000 ? 1000000000 : (int)left);
        if (ready < 0 && errno != EINTR) return;
        if (polled[1].revents && ready > 0) hear_errors();
        if (polled[2].revents && ready > 0) eventfd_read(nest.bell, &rung);
        if (ready > 0 && (polled[0].revents || has_ended(child))) return;
        reply.hung = ready == 0;
        if (reply.hung) return;
    }
}

/* Signals a child that hangs: its crash handler writes down where. */
static void ask_where(const struct child *child, int64_t last_words_ms) {
    struct pollfd polled = {.fd = child->pidfd, .events = POLLIN};
    syscall(SYS_tgkill, child->pid, child->pid, SIGABRT);
    poll(&polled, 1, (int)last_words_ms);
}

static void see_it_end(const struct child *child, const struct request *request) {
    if (child->pidfd >= 0) follow(child, request->deadline_ms);
    if (reply.hung) ask_where(child, request->last_words_ms);
    if (child->pidfd < 0 || reply.hung) kill(child->pid, SIGKILL);
}

static void hear_last_words(void) {
    for (int turn = 0; turn < 64 && hear_errors(); turn++) continue;
}

/* Waits until nothing is left of a child. Kills its group while the unreaped child still holds its number. */
static int bury(const struct child *child, int *wait_status) {
    siginfo_t ended;
    waitid(P_PID, (id_t)child->pid, &ended, WEXITED | WNOWAIT);
    kill(-child->pid, SIGKILL);
    if (child->pidfd >= 0) close(child->pidfd);
    return waitpid(child->pid, wait_status, 0) == child->pid ? 0 : -1;
}

static int take_over_output(void) {
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC), ends[2];
    if (nothing < 0 || pipe2(ends, O_CLOEXEC) != 0) return -1;
    errors[0] = fcntl(ends[0], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    if (dup2(nothing, STDOUT_FILENO) < 0 || dup2(ends[1], STDERR_FILENO) < 0) return -1;
    close(nothing);
    close(ends[0]);
    close(ends[1]);
    return errors[0] < 0 ? -1 : 0;
}

static int tell_supervisor(void) {
    hear_last_words();
    return send(channel, &reply, sizeof reply, MSG_NOSIGNAL) == (ssize_t)sizeof reply ? 0 : -1;
}

/* Tells how the trial of a child ends. One that has nothing left to do has its status: nobody waits until its memory is
 * torn down. Yet no other trial begins before it is gone, with all that it holds. */
static int tell_end(const struct child *child) {
    int unheard;
    if (has_ended(child)) return tell_supervisor() == 0 ? bury(child, &unheard) : -1;
    return bury(child, &reply.wait_status) == 0 ? tell_supervisor() : -1;
}

static struct child present, next;

/* Forks the child that waits for its turn. Returns 1 in it once that has come; in the server 0, or -1. */
static int breed(void) {
    uint32_t number = next.number + 1;
    pid_t pid = fork();
    if (pid == 0) {
        close(channel);
        close(errors[0]);
        if (present.pid) close(present.pidfd);
        begin_child(&nest, number);
        return 1;
    }
    next = (struct child){.pid = pid, .number = number};
    if (pid > 0) next.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return pid > 0 ? 0 : -1;
}

static void give_turn(const struct child *child) {
    uint32_t *begun = &nest.turns->begun;
    __atomic_store_n(begun, child->number, __ATOMIC_RELEASE);
    syscall(SYS_futex, begun, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Whether one waits. It may have been killed, where memory ran out. */
static int is_waiting(void) {
    siginfo_t ended = {0};
    int status;
    if (next.pid <= 0) return 0;
    if (waitid(P_PID, (id_t)next.pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && !ended.si_pid) return 1;
    bury(&next, &status);
    return 0;
}

/* Returns as breed() does. The next child is forked meanwhile; if it can't be, that shows when it is needed. */
static int make_trial(const struct request *request) {
    int found = is_waiting() ? 0 : breed();
    if (found != 0) return found;
    memset(&reply, 0, sizeof reply);
    present = next;
    give_turn(&present);
    if (breed() == 1) return 1;
    see_it_end(&present, request);
    found = tell_end(&present);
    present.pid = 0;
    return found;
}

/* Returns 1 in each child, at its call; in the server 0 once the supervisor has hung up, or -1. */
INTERPOSED int sweep_serve(void) {
    struct request request;
    int found = 0, unheard;
    signal(SIGCHLD, SIG_DFL);
    if (take_over_output() != 0 || make_nest(&nest) != 0) return -1;
    learn_spans();
    while (found == 0 && recv(channel, &request, sizeof request, 0) == (ssize_t)sizeof request)
        found = make_trial(&request);
    if (found == 1) return 1;
    if (next.pid > 0 && kill(next.pid, SIGKILL) == 0) bury(&next, &unheard);
    return found;
}
