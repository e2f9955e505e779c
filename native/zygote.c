/* A server of trials: one small process that fires the same shot many times, each in a child of its own.
 *
 * It has loaded the fault code and nothing else, forks in C, and answers in fixed-size records, many to a write. A
 * guard contains it as a whole: limits, namespace, and what happens when the supervisor dies, are the guard's. What
 * is an attempt's own is done here: box, deadline, wait status, usage, leftovers. Its twin is supervisor/zygote.py. */
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "aim.h"
#include "blackbox.h"
#include "cgroup.h"
#include "survivors.h"

enum { REQUEST_MAGIC = 0x5a484331, WELCOME_MAGIC = 0x5a484332, TRIAL_MAGIC = 0x5a484333 };
enum { BOX_BYTES = 4096, WORDS_BYTES = 512, WORDS = 64, TEXT_BYTES = 4096, KEPT_BYTES = 128, BATCH = 64 };
enum { BOX_FD = 4, FIRST_FREE_FD = 10, FLUSH_MS = 5 };
enum intent { INTENT_NONE, INTENT_DEADLINE };

static const uint64_t FOREVER = UINT64_MAX;

/* The first message: how the guard has bounded this process. */
struct welcome {
    uint32_t magic;
    uint32_t memory_limited;
    int32_t cgroup_version; /* 0: none */
    uint32_t reserved;
    char cgroup_path[PATH_MAX];
};

/* `count` trials of one shot. */
struct request {
    uint32_t magic;
    uint32_t count;
    int64_t deadline_ms; /* < 0: none */
    int64_t grace_ms;
    char words[WORDS_BYTES]; /* the runner's arguments, each with its NUL; an empty one ends them */
};

struct trial {
    uint32_t magic;
    int32_t wait_status;
    uint32_t intent;
    int32_t survivors;
    int32_t oom_kills; /* -1: not counted, since nothing called for it */
    uint32_t text_bytes;
    uint64_t started_ns;
    uint64_t ended_ns;
    uint64_t peak_rss_bytes;
    uint64_t cpu_us;
    struct box box;
    char text[KEPT_BYTES]; /* the first bytes of what it said on stderr */
};

/* What is known and not yet sent. No victim has it, so a fork neither copies nor protects its pages. */
struct batch {
    uint32_t pending;
    struct trial trials[BATCH];
};

struct server {
    int fd;             /* to the supervisor */
    int box_fd, text_fd;
    struct box *box;
    uint32_t memory_limited;
    struct cgroup cgroup;
    int32_t oom_kills;      /* so far */
    char *const *command;   /* NULL: fork */
    char *argv[WORDS];      /* command and words, for exec */
    struct aim aim;         /* the same read, for fork */
    sigset_t child_ended;   /* SIGCHLD, blocked in the server */
    struct batch *batch;
};

static struct server server;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the victim's side --- */

/* A victim must not reach the supervisor's socket, nor end the server by a signal to its own group. */
static void leave_server(pid_t parent) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_UNBLOCK, &server.child_ended, NULL);
    if (getppid() != parent) _exit(127);
}

/* The server has one thread and registers nothing to be called at a fork: the plain one leaves a child that is as
 * whole, and touches fewer pages. */
static pid_t start_warm(void) {
    pid_t parent = getpid();
    pid_t victim = _Fork();
    if (victim != 0) return victim;
    leave_server(parent);
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
    rearm();
    fire_at(&server.aim);
    _exit(0);
}

static pid_t start_fresh(void) {
    pid_t parent = getpid();
    pid_t victim = vfork();
    if (victim != 0) return victim;
    leave_server(parent);
    if (dup2(server.box_fd, BOX_FD) == BOX_FD) execv(server.argv[0], server.argv);
    _exit(127);
}

/* --- the server's side --- */

/* 0, or -1 when the supervisor is gone. */
static int flush(void) {
    struct batch *batch = server.batch;
    size_t bytes = batch->pending * sizeof batch->trials[0];
    if (!batch->pending) return 0;
    batch->pending = 0;
    return send(server.fd, batch->trials, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -1;
}

static void kill_group(pid_t victim, int signal_number) {
    kill(-victim, signal_number);
    kill(victim, signal_number); /* it may have left its group, or not be in it yet */
}

static void note_usage(struct trial *trial, const struct rusage *usage) {
    trial->peak_rss_bytes = (uint64_t)usage->ru_maxrss * 1024u;
    trial->cpu_us = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000u +
                    (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

/* Waits for the victim's end, and reaps it: 1, or 0 when that time has passed without it, or -1. The signal that
 * announces an end is blocked, so it can't come between a look and the sleep after it. It may speak of another, or
 * be the victim's own invention: it only says when to look. */
static int reap(pid_t victim, struct trial *trial, uint64_t until_ns) {
    struct rusage usage;
    for (;;) {
        uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
        struct timespec patience = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        sigtimedwait(&server.child_ended, NULL, until_ns == FOREVER ? NULL : &patience);
        pid_t reaped = wait4(victim, &trial->wait_status, WNOHANG, &usage);
        if (reaped == victim) return note_usage(trial, &usage), 1;
        if (reaped < 0 && errno != EINTR) return -1;
        if (now_ns() >= until_ns) return 0;
    }
}

static uint64_t after(uint64_t start_ns, int64_t span_ms) {
    return span_ms < 0 ? FOREVER : start_ns + (uint64_t)span_ms * 1000000u;
}

/* What is known already is not held back while a victim takes its time. */
static int reap_in_time(const struct request *request, pid_t victim, struct trial *trial) {
    uint64_t deadline_ns = after(trial->started_ns, request->deadline_ms);
    uint64_t flush_ns = after(trial->started_ns, FLUSH_MS);
    if (server.batch->pending && flush_ns < deadline_ns) {
        int reaped = reap(victim, trial, flush_ns);
        if (reaped != 0) return reaped;
    }
    flush();
    return reap(victim, trial, deadline_ns);
}

/* As the guard does: SIGTERM, a grace, SIGKILL, with the victim unreaped. 0, or -1. */
static int see_it_end(const struct request *request, pid_t victim, struct trial *trial) {
    int reaped = reap_in_time(request, victim, trial);
    if (reaped == 0) trial->intent = INTENT_DEADLINE;
    if (reaped == 0 && request->grace_ms > 0) {
        kill_group(victim, SIGTERM);
        reaped = reap(victim, trial, after(now_ns(), request->grace_ms));
    }
    if (reaped == 0) {
        kill_group(victim, SIGKILL);
        reaped = reap(victim, trial, FOREVER);
    }
    return reaped < 0 ? -1 : 0;
}

/* Orphans come to the subreaper; mostly there is none, and one call says so. */
static int32_t sweep(void) {
    siginfo_t none;
    if (waitid(P_ALL, 0, &none, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD) return 0;
    return kill_survivors(0);
}

/* The counter costs a file: it is read only where it could tell something. */
static int32_t new_oom_kills(const struct trial *trial) {
    int killed = WIFSIGNALED(trial->wait_status) && WTERMSIG(trial->wait_status) == SIGKILL;
    if (!server.cgroup.version) return -1;
    if (!killed || trial->intent != INTENT_NONE) return 0;
    int32_t before = server.oom_kills;
    server.oom_kills = cgroup_oom_kills(&server.cgroup);
    return server.oom_kills < 0 ? -1 : server.oom_kills - before;
}

static void take_text(struct trial *trial) {
    off_t length = lseek(server.text_fd, 0, SEEK_CUR);
    trial->text_bytes = length < 0 ? 0 : length > KEPT_BYTES ? KEPT_BYTES : (uint32_t)length;
    if (length == 0) return;
    if (pread(server.text_fd, trial->text, trial->text_bytes, 0) < 0) trial->text_bytes = 0;
    lseek(server.text_fd, 0, SEEK_SET);
}

static void reset_box(void) {
    memset(server.box, 0, sizeof *server.box);
    server.box->magic = BOX_MAGIC;
    server.box->memory_limited = server.memory_limited;
    server.box->armed = server.box->counts_allocations = !server.command; /* a fork of an armed process is armed */
}

/* 0, or -1 when this server can promise nothing any more. */
static int try_once(const struct request *request, struct trial *trial) {
    reset_box();
    trial->started_ns = now_ns();
    pid_t victim = server.command ? start_fresh() : start_warm();
    if (victim < 0) return -1;
    if (see_it_end(request, victim, trial) != 0) return -1;
    trial->ended_ns = now_ns();
    trial->survivors = sweep();
    trial->oom_kills = new_oom_kills(trial);
    take_text(trial);
    trial->box = *server.box;
    return trial->survivors < 0 ? -1 : 0;
}

/* Points argv behind the command at the words. Their number, or -1 when they don't end. */
static int split(struct request *request, char **words, int room) {
    int count = 0;
    request->words[WORDS_BYTES - 1] = request->words[WORDS_BYTES - 2] = '\0';
    for (char *at = request->words; *at; at += strlen(at) + 1) {
        if (count == room - 1) return -1;
        words[count++] = at;
    }
    words[count] = NULL;
    return count;
}

static int take_aim(struct request *request) {
    int given = 0;
    for (; server.command && server.command[given]; given++) server.argv[given] = server.command[given];
    int count = split(request, server.argv + given, WORDS - given);
    if (count < 0) return -1;
    return server.command ? 0 : read_aim(count, server.argv, &server.aim);
}

static int answer(struct request *request) {
    if (request->magic != REQUEST_MAGIC || take_aim(request) != 0) return -1;
    for (uint32_t done = 0; done < request->count; done++) {
        struct trial trial = {.magic = TRIAL_MAGIC};
        if (try_once(request, &trial) != 0) {
            flush();
            return -1;
        }
        server.batch->trials[server.batch->pending++] = trial; /* not before: it may be sent during a trial */
        if (server.batch->pending == BATCH && flush() != 0) return -1;
    }
    return flush();
}

/* A file of fixed size: a victim can neither shrink it under us nor grow it without end. */
static int sealed_file(const char *name, off_t bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return fd;
    close(fd);
    return -1;
}

static int lift(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD); }

/* Armed here, so that a warm victim inherits mapping, handlers and signal stack. A fresh one arms itself. */
static int make_box(void) {
    int fd = sealed_file("crash-box", BOX_BYTES);
    if (fd < 0) return -1;
    server.box_fd = lift(fd);
    close(fd);
    const uint32_t magic = BOX_MAGIC;
    if (pwrite(server.box_fd, &magic, sizeof magic, 0) != (ssize_t)sizeof magic || arm(server.box_fd) != 0) return -1;
    server.box = armed_box();
    return share_signal_stack();
}

/* Victims' stderr is a file that needs no reader; what they print is nobody's verdict. */
static int make_text(void) {
    int fd = sealed_file("crash-text", TEXT_BYTES), nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || nothing < 0) return -1;
    if (dup2(nothing, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) return -1;
    close(nothing);
    server.text_fd = STDERR_FILENO;
    return close(fd);
}

static int make_batch(void) {
    server.batch = mmap(NULL, sizeof *server.batch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (server.batch == MAP_FAILED) return -1;
    return madvise(server.batch, sizeof *server.batch, MADV_DONTFORK);
}

/* SIGCHLD tells of ends alone, whatever was inherited. */
static int await_children(void) {
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    sigemptyset(&server.child_ended);
    sigaddset(&server.child_ended, SIGCHLD);
    if (sigaction(SIGCHLD, &action, NULL) != 0) return -1;
    return sigprocmask(SIG_BLOCK, &server.child_ended, NULL);
}

static int be_welcome(void) {
    struct welcome welcome;
    if (recv(server.fd, &welcome, sizeof welcome, 0) != (ssize_t)sizeof welcome) return -1;
    if (welcome.magic != WELCOME_MAGIC) return -1;
    server.memory_limited = welcome.memory_limited;
    server.cgroup.version = welcome.cgroup_version;
    memcpy(server.cgroup.path, welcome.cgroup_path, sizeof server.cgroup.path);
    server.cgroup.path[PATH_MAX - 1] = '\0';
    server.oom_kills = cgroup_oom_kills(&server.cgroup);
    return 0;
}

static int serve_all(int fd) {
    struct request request;
    server.fd = lift(fd);
    if (server.fd < 0 || close(fd) != 0 || be_welcome() != 0 || make_box() != 0 || make_text() != 0) return -1;
    if (make_batch() != 0 || await_children() != 0) return -1;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
        ssize_t length = recv(server.fd, &request, sizeof request, 0);
        if (length == 0) return 0;
        if (length != (ssize_t)sizeof request || answer(&request) != 0) return -1;
    }
}

int keep_from_forks(uint64_t address) {
    char line[PATH_MAX + 128];
    uint64_t start, end;
    FILE *maps = fopen("/proc/self/maps", "re");
    int answer = -1;
    while (maps && answer != 0 && fgets(line, sizeof line, maps))
        if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 && start <= address && address < end)
            answer = madvise((void *)(uintptr_t)start, end - start, MADV_DONTFORK);
    if (maps) fclose(maps);
    return answer;
}

int serve(int fd) { return serve_all(fd); }

int serve_fresh(int fd, char *const *command) {
    server.command = command;
    return serve_all(fd);
}
