/* Things used after their life, or before it: callbacks, destructors, locks across fork. */
#include "faults/family.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct client {
    void (*on_event)(struct client *client);
};

static void count_event(struct client *client) { (void)launder(client)[0]; }

/* The library keeps the client's callback, and the client is gone. */
static enum outcome callback_after_close(const struct shot *shot) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    struct client *client = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)shot;
    if (client == MAP_FAILED) return DID_NOT_FIRE;
    client->on_event = count_event;
    void (*volatile kept)(struct client *) = client->on_event;
    munmap(client, size);
    kept(client);
    return DID_NOT_FIRE;
}

/* An object that a collector finalises, and what its finaliser needs. */
struct collected {
    void (*finalise)(struct collected *self);
    struct collected *owner;
    char *buffer;
};

static void close_owner(struct collected *self) { munmap(self->buffer, (size_t)sysconf(_SC_PAGESIZE)); }

static void flush_to_owner(struct collected *self) { launder(self->owner->buffer)[0] = 1; }

/* As a collector does with a cycle that has become garbage: one after the other, in no order that they could rely on. */
static void collect(struct collected *garbage, int count) {
    for (int at = 0; at < count; at++) garbage[at].finalise(&garbage[at]);
}

static enum outcome finaliser(const struct shot *shot) {
    struct collected garbage[] = {{close_owner, NULL, NULL}, {flush_to_owner, &garbage[0], NULL}};
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)shot;
    if (page == MAP_FAILED) return DID_NOT_FIRE;
    garbage[0].buffer = page;
    collect(garbage, 2);
    return DID_NOT_FIRE;
}

static void crash_late(void) { (void)*launder(NULL); }

/* The work is done and the status is chosen: then the crash comes. */
static enum outcome crash_at_exit(const struct shot *shot) {
    (void)shot;
    if (atexit(crash_late) == 0) exit(0);
    return DID_NOT_FIRE;
}

static void crash_in_destructor(void *value) { (void)*launder(value); }

static void *set_thread_value(void *key) {
    pthread_setspecific(*(pthread_key_t *)key, (void *)(uintptr_t)8);
    return NULL;
}

static enum outcome thread_destructor(const struct shot *shot) {
    pthread_key_t key;
    pthread_t thread;
    (void)shot;
    if (pthread_key_create(&key, crash_in_destructor) != 0) return DID_NOT_FIRE;
    if (start_thread(&thread, set_thread_value, &key) == 0) pthread_join(thread, NULL);
    return DID_NOT_FIRE;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The child inherits the lock, but not the thread that would open it. */
static enum outcome lock_across_fork(const struct shot *shot) {
    (void)shot;
    pthread_mutex_lock(&lock);
    pid_t child = fork();
    if (child == 0) {
        pthread_mutex_lock(&lock);
        _exit(0);
    }
    if (child > 0) waitpid(child, NULL, 0);
    return DID_NOT_FIRE;
}

static enum outcome deadlock(const struct shot *shot) {
    (void)shot;
    pthread_mutex_lock(&lock);
    pthread_mutex_lock(&lock);
    return DID_NOT_FIRE;
}

#define LIFETIME .family = "lifetime", .tiers = "forced", .needs = ""

FAMILY(lifetime_faults,
    {LIFETIME, .name = "callback_after_close", .kind = "deterministic", .fire = callback_after_close,
     .mechanism = "Calls back a client that was closed.", .expects = "SIGSEGV SEGV_MAPERR wild"},
    {LIFETIME, .name = "finaliser", .kind = "deterministic", .fire = finaliser,
     .mechanism = "A finaliser uses an object that was finalised before it; a registry in C stands in for a collector.",
     .expects = "SIGSEGV SEGV_MAPERR wild"},
    {LIFETIME, .name = "crash_at_exit", .kind = "deterministic", .fire = crash_at_exit,
     .mechanism = "Crashes in an atexit handler, when it has already succeeded.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {LIFETIME, .name = "thread_destructor", .kind = "deterministic", .fire = thread_destructor,
     .mechanism = "Crashes in the destructor of a thread's own value.", .expects = "SIGSEGV SEGV_MAPERR null"},
    {LIFETIME, .name = "lock_across_fork", .kind = "hang", .fire = lock_across_fork,
     .mechanism = "Forks with a lock held, and the child waits for it.", .expects = "SIGTERM by the deadline"},
    {LIFETIME, .name = "deadlock", .kind = "hang", .fire = deadlock,
     .mechanism = "Takes a lock that it already holds.", .expects = "SIGTERM by the deadline"});
