/* libcrashbox.so: carries the black box into a foreign command, by LD_PRELOAD.
 *
 * It maps the page, installs the handlers, gives every thread an alternate signal stack, and counts the allocations
 * that the system refuses. It arms the one process that the guard has named, again after each exec of that
 * process; in every other that inherits the variables it does nothing. What it interposes it finds by RTLD_NEXT,
 * so that a malloc and a free of the same library stay together. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blackbox.h"
#include "family.h"
#include "identity.h"

#define INTERPOSED __attribute__((visibility("default")))

extern char **environ;

/* --- what stands behind each interposed name --- */

enum name { MALLOC, CALLOC, REALLOC, PTHREAD_CREATE, EXECVE, EXECVPE, FEXECVE, NAMES };

static const char *const names[NAMES] = {"malloc", "calloc",  "realloc", "pthread_create",
                                         "execve", "execvpe", "fexecve"};
static void *found[NAMES];
static __thread int searching;

/* NULL while dlsym() itself allocates: it can do without. */
static void *real(enum name name) {
    void *function = __atomic_load_n(&found[name], __ATOMIC_RELAXED);
    if (function || searching) return function;
    searching = 1;
    function = dlsym(RTLD_NEXT, names[name]);
    searching = 0;
    __atomic_store_n(&found[name], function, __ATOMIC_RELAXED);
    return function;
}

/* --- allocations --- */

/* More than half the address space is no machine's to give: asking for it is a mistake, not a shortage. */
static void *checked(void *memory, size_t bytes) {
    if (!memory && bytes && bytes <= PTRDIFF_MAX) allocation_refused();
    return memory;
}

static void *none(void) {
    errno = ENOMEM;
    return NULL;
}

INTERPOSED void *malloc(size_t bytes) {
    void *(*next)(size_t) = real(MALLOC);
    return next ? checked(next(bytes), bytes) : none();
}

/* `malloc` alone would mean the program's, where it brings one. */
static void *own_malloc(size_t) __attribute__((alias("malloc")));

INTERPOSED void *calloc(size_t count, size_t bytes) {
    void *(*next)(size_t, size_t) = real(CALLOC);
    size_t total = 0;
    if (__builtin_mul_overflow(count, bytes, &total)) total = SIZE_MAX;
    return next ? checked(next(count, bytes), total) : none();
}

INTERPOSED void *realloc(void *memory, size_t bytes) {
    void *(*next)(void *, size_t) = real(REALLOC);
    return next ? checked(next(memory, bytes), bytes) : none();
}

/* --- threads --- */

INTERPOSED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                              void *argument) {
    create_thread *next = (create_thread *)real(PTHREAD_CREATE);
    if (!next) return EAGAIN;
    if (!armed_box() || !is_victim()) return next(thread, attributes, body, argument);
    return create_recorded(next, thread, attributes, body, argument);
}

/* --- exec: the handlers end with the program, and the next one may be one that this library can't enter --- */

static int leave(void) {
    struct box *box = armed_box();
    if (!box || !is_victim()) return 0;
    int was_armed = (int)box->armed;
    box->armed = 0;
    return was_armed;
}

static int stay(int was_armed) {
    if (was_armed) armed_box()->armed = 1;
    return -1;
}

INTERPOSED int execve(const char *path, char *const *arguments, char *const *environment) {
    int (*next)(const char *, char *const *, char *const *) = real(EXECVE);
    int was_armed = leave();
    next(path, arguments, environment);
    return stay(was_armed);
}

INTERPOSED int execv(const char *path, char *const *arguments) { return execve(path, arguments, environ); }

INTERPOSED int execvpe(const char *file, char *const *arguments, char *const *environment) {
    int (*next)(const char *, char *const *, char *const *) = real(EXECVPE);
    int was_armed = leave();
    next(file, arguments, environment);
    return stay(was_armed);
}

INTERPOSED int execvp(const char *file, char *const *arguments) { return execvpe(file, arguments, environ); }

INTERPOSED int fexecve(int fd, char *const *arguments, char *const *environment) {
    int (*next)(int, char *const *, char *const *) = real(FEXECVE);
    int was_armed = leave();
    next(fd, arguments, environment);
    return stay(was_armed);
}

static size_t count_arguments(va_list list) {
    size_t count = 1;
    while (va_arg(list, const char *)) count++;
    return count;
}

/* The arguments from `first` to the NULL, as an array that lives as long as the caller's frame. */
#define ARGUMENTS(array, list, first)                                                     \
    va_start(list, first);                                                                \
    char *array[count_arguments(list) + 1];                                               \
    va_end(list);                                                                         \
    va_start(list, first);                                                                \
    array[0] = (char *)(uintptr_t)first;                                                  \
    for (char **at = array; *at;) *++at = va_arg(list, char *)

INTERPOSED int execl(const char *path, const char *first, ...) {
    va_list list;
    ARGUMENTS(arguments, list, first);
    va_end(list);
    return execve(path, arguments, environ);
}

INTERPOSED int execlp(const char *file, const char *first, ...) {
    va_list list;
    ARGUMENTS(arguments, list, first);
    va_end(list);
    return execvpe(file, arguments, environ);
}

INTERPOSED int execle(const char *path, const char *first, ...) {
    va_list list;
    ARGUMENTS(arguments, list, first);
    char *const *environment = va_arg(list, char *const *);
    va_end(list);
    return execve(path, arguments, environment);
}

/* --- the start --- */

static int is_named(void) {
    char identity[IDENTITY_BYTES];
    const char *named = getenv(VICTIM_VARIABLE);
    if (!named) return 0;
    write_identity(identity);
    return strcmp(named, identity) == 0;
}

/* All names are looked up now: later it may be in a forked child, where the loader's lock is held by nobody. */
__attribute__((constructor)) static void carry(void) {
    const char *fd = getenv(FD_VARIABLE);
    for (int name = 0; name < NAMES; name++) real((enum name)name);
    if (!fd || !is_named() || arm((int)strtol(fd, NULL, 10)) != 0) return;
    armed_box()->counts_allocations = dlsym(RTLD_DEFAULT, "malloc") == (void *)own_malloc;
}
