/* What else a system may refuse: mappings, threads, processes. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trials/sweep.h"

/* --- mappings --- */

typedef void *map_function(void *, size_t, int, int, int, off_t);

static void *no_mapping(void) {
    errno = ENOMEM;
    return MAP_FAILED;
}

INTERPOSED void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    map_function *next = BEHIND(mmap);
    if (!next || refuse(ASKS_MMAP, bytes)) return no_mapping();
    return next(at, bytes, protection, flags, fd, offset);
}

INTERPOSED void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset) {
    return mmap(at, bytes, protection, flags, fd, offset);
}

/* Only growth asks for something. */
INTERPOSED void *mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...) {
    void *(*next)(void *, size_t, size_t, int, ...) = BEHIND(mremap);
    va_list list;
    va_start(list, flags);
    void *at = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
    va_end(list);
    if (!next || (bytes > old_bytes && refuse(ASKS_MMAP, bytes - old_bytes))) return no_mapping();
    return next(old, old_bytes, bytes, flags, at);
}

/* --- threads --- */

INTERPOSED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                              void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = BEHIND(pthread_create);
    return !next || refuse(ASKS_THREAD, 0) ? EAGAIN : next(thread, attributes, body, argument);
}

/* --- processes --- */

/* Whether it is refused; where it is not, the report says that there were some. */
static int refuse_process(void) {
    if (busy || !is_in_window()) return 0;
    sweep->answer.forks++;
    return refuse(ASKS_FORK, 0);
}

static int no_process(void) {
    errno = EAGAIN;
    return -1;
}

INTERPOSED pid_t fork(void) {
    pid_t (*next)(void) = BEHIND(fork);
    return !next || refuse_process() ? no_process() : next();
}

/* A function that returns twice on one stack can't be called from another: a fork is what POSIX allows it to be. */
INTERPOSED pid_t vfork(void) { return fork(); }

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                           char *const *, char *const *);

INTERPOSED int posix_spawn(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *attributes, char *const *words, char *const *environment) {
    spawn_function *next = (spawn_function *)BEHIND(posix_spawn);
    return !next || refuse_process() ? EAGAIN : next(child, path, actions, attributes, words, environment);
}

INTERPOSED int posix_spawnp(pid_t *child, const char *file, const posix_spawn_file_actions_t *actions,
                            const posix_spawnattr_t *attributes, char *const *words, char *const *environment) {
    spawn_function *next = (spawn_function *)BEHIND(posix_spawnp);
    return !next || refuse_process() ? EAGAIN : next(child, file, actions, attributes, words, environment);
}

INTERPOSED int system(const char *command) {
    int (*next)(const char *) = BEHIND(system);
    return !next || (command && refuse_process()) ? no_process() : next(command);
}

INTERPOSED FILE *popen(const char *command, const char *kind) {
    FILE *(*next)(const char *, const char *) = BEHIND(popen);
    if (next && !refuse_process()) return next(command, kind);
    errno = EAGAIN;
    return NULL;
}
