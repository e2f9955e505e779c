/* The sweep's server: a process that has loaded the swept code forks a child for each trial, at the call.
 *
 * The loop is in C and asks for no memory, so that each child starts from the same heap: what Python leaves behind
 * between two forks would move the count. The script around it is harness/child/swept.py. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "trials/sweep.h"

enum { CHANNEL_FD = 5, FIRST_FREE_FD = 200, TAIL_BYTES = 4096 };

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
static uint64_t data_bytes;
static struct reply reply;

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
INTERPOSED void sweep_bound(unsigned long bytes) { data_bytes = bytes; }

INTERPOSED void *sweep_call(void *(*call)(void *), void *function) {
    open_window();
    void *result = call(function);
    close_window();
    return result;
}

INTERPOSED void sweep_next(void) { sweep->answer.stage = IN_NEXT_CALL; }

/* --- the child --- */

static int begin_child(pid_t server) {
    struct rlimit limit;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != server) _exit(127);
    close(channel);
    close(errors[0]);
    if (data_bytes && getrlimit(RLIMIT_DATA, &limit) == 0 && data_bytes < limit.rlim_cur) {
        limit.rlim_cur = data_bytes;
        setrlimit(RLIMIT_DATA, &limit);
    }
    watch_crashes();
    return 1;
}

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

/* Waits until the child has ended, or its time is over. */
static void follow(int pidfd, int64_t deadline_ms) {
    struct pollfd polled[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = errors[0], .events = POLLIN}};
    int64_t end = now_ms() + deadline_ms;
    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : end > now_ms() ? end - now_ms() : 0;
        int ready = poll(polled, 2, left > 1000000000 ? 1000000000 : (int)left);
        if (ready < 0 && errno != EINTR) return;
        if (polled[1].revents && ready > 0) hear_errors();
        if (polled[0].revents && ready > 0) return;
        reply.hung = ready == 0;
        if (reply.hung) return;
    }
}

/* Signals a child that hangs: its crash handler writes down where. */
static void ask_where(pid_t child, int pidfd, int64_t last_words_ms) {
    struct pollfd polled = {.fd = pidfd, .events = POLLIN};
    syscall(SYS_tgkill, child, child, SIGABRT);
    poll(&polled, 1, (int)last_words_ms);
}

/* Kills the child's group while the unreaped child still holds its number. */
static int see_it_end(pid_t child, const struct request *request) {
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    if (pidfd >= 0) follow(pidfd, request->deadline_ms);
    siginfo_t ended;
    if (reply.hung) ask_where(child, pidfd, request->last_words_ms);
    if (pidfd < 0 || reply.hung) kill(child, SIGKILL);
    waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT);
    kill(-child, SIGKILL);
    for (int turn = 0; turn < 64 && hear_errors(); turn++) continue;
    if (pidfd >= 0) close(pidfd);
    return waitpid(child, &reply.wait_status, 0) == child ? 0 : -1;
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

/* Returns 1 in each child, at its call; in the server 0 once the supervisor has hung up, or -1. */
INTERPOSED int sweep_serve(void) {
    struct request request;
    pid_t server = getpid();
    signal(SIGCHLD, SIG_DFL);
    if (take_over_output() != 0) return -1;
    while (recv(channel, &request, sizeof request, 0) == (ssize_t)sizeof request) {
        memset(&reply, 0, sizeof reply);
        pid_t child = fork();
        if (child == 0) return begin_child(server);
        if (child < 0 || see_it_end(child, &request) != 0) return -1;
        if (send(channel, &reply, sizeof reply, MSG_NOSIGNAL) != (ssize_t)sizeof reply) return -1;
    }
    return 0;
}
