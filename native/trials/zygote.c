/* A server of trials: one small process that fires the same shot many times, each in a child of its own.
 *
 * It has loaded the fault code and nothing else, forks in C, and answers in fixed-size records, many to a write. Its
 * twin is supervisor/zygote.py. */
#include "trials/zygote.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faults/faults.h"
#include "trials/trial.h"

enum { REQUEST_MAGIC = 0x5a484331, WELCOME_MAGIC = 0x5a484332, TRIAL_MAGIC = 0x5a484333 };
enum { WORDS_BYTES = 512, WORDS = 64, BATCH = 64 };

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

/* What is known and not yet sent. No victim has it, so a fork neither copies nor protects its pages. */
struct batch {
    uint32_t pending;
    struct trial trials[BATCH];
};

struct server {
    int fd; /* to the supervisor */
    struct stand stand;
    struct batch *batch;
    char *const *command; /* of a fresh victim; NULL: they are warm */
    char *argv[WORDS];    /* the same, and the words of the shot */
};

static struct server server;

/* Sends what is pending. Returns 0, or -1 when the supervisor is gone. */
static int flush(void) {
    struct batch *batch = server.batch;
    size_t bytes = batch->pending * sizeof batch->trials[0];
    if (!batch->pending) return 0;
    batch->pending = 0;
    return send(server.fd, batch->trials, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -1;
}

/* Sends what is known already while a victim takes its time. Whether anybody hears it shows at the next flush. */
static void flush_early(void) { flush(); }

/* Points argv behind the command at the words. Returns their number, or -1 when they don't end. */
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
    server.stand.deadline_ms = request->deadline_ms;
    server.stand.grace_ms = request->grace_ms;
    if (count < 0) return -1;
    return server.command ? 0 : read_aim(count, server.argv, &server.stand.aim);
}

static int answer(struct request *request) {
    if (request->magic != REQUEST_MAGIC || take_aim(request) != 0) return -1;
    for (uint32_t done = 0; done < request->count; done++) {
        struct trial trial = {.magic = TRIAL_MAGIC};
        if (try_once(&server.stand, &trial) != 0) {
            flush();
            return -1;
        }
        server.batch->trials[server.batch->pending++] = trial; /* not before: it may be sent during a trial */
        if (server.batch->pending == BATCH && flush() != 0) return -1;
    }
    return flush();
}

static int make_batch(void) {
    server.batch = mmap(NULL, sizeof *server.batch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (server.batch == MAP_FAILED) return -1;
    return madvise(server.batch, sizeof *server.batch, MADV_DONTFORK);
}

static int be_welcome(void) {
    struct welcome welcome;
    struct stand *stand = &server.stand;
    if (recv(server.fd, &welcome, sizeof welcome, 0) != (ssize_t)sizeof welcome) return -1;
    if (welcome.magic != WELCOME_MAGIC) return -1;
    stand->memory_limited = welcome.memory_limited;
    welcome.cgroup_path[PATH_MAX - 1] = '\0';
    if (cgroup_open(&stand->cgroup, welcome.cgroup_version, welcome.cgroup_path) != 0) return -1;
    stand->command = server.command ? server.argv : NULL;
    stand->dawdles = flush_early;
    return prepare(stand);
}

static int serve_all(int fd) {
    struct request request;
    server.fd = lift(fd);
    if (server.fd < 0 || close(fd) != 0 || make_batch() != 0 || be_welcome() != 0) return -1;
    for (;;) {
        ssize_t length = recv(server.fd, &request, sizeof request, 0);
        if (length == 0) return 0;
        if (length != (ssize_t)sizeof request || answer(&request) != 0) return -1;
    }
}

int serve(int fd) {
    settle();
    return serve_all(fd);
}

int serve_fresh(int fd, char *const *command) {
    server.command = command;
    return serve_all(fd);
}
