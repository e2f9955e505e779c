/* libcrashbox.so: carries the black box into a foreign command, by LD_PRELOAD.
 *
 * It maps the page, installs the handlers, gives every thread an alternate signal stack, and counts the allocations
 * that the system refuses. It arms the one process that the guard has named, again after each exec of that
 * process, and hands itself on to no other. What it interposes it finds by RTLD_NEXT,
 * so that a malloc and a free of the same library stay together. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box/arming.h"
#include "box/victim.h"
#include "faults/family.h"
#include "box/identity.h"

#define INTERPOSED __attribute__((visibility("default")))

extern char **environ;

/* --- what stands behind each interposed name --- */

enum name { MALLOC, CALLOC, REALLOC, PTHREAD_CREATE, EXECVE, EXECVPE, FEXECVE, NAMES };

static const char *const names[NAMES] = {"malloc", "calloc",  "realloc", "pthread_create",
                                         "execve", "execvpe", "fexecve"};
static void *found[NAMES];
static __thread int searching, reached; /* whether a call of malloc came here */

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
    reached = 1;
    return next ? checked(next(bytes), bytes) : none();
}

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

/* --- what only the victim is to carry: the variables leave its environment at the start and come back for an exec of
 * its own, so that nothing that it starts is preloaded, or holds the descriptor --- */

enum { VARIABLES = 3, LIST_BYTES = 2 * PATH_MAX };

static const char list_prefix[] = PRELOAD_VARIABLE "=";
static char library[PATH_MAX], fd_text[IDENTITY_BYTES], victim_text[2 * IDENTITY_BYTES];
static int box_fd = -1;

/* Ours is the first in the list; what follows is the program's own. */
static void forget_library(void) {
    const char *list = getenv(PRELOAD_VARIABLE);
    size_t length = list ? strcspn(list, ":") : 0;
    if (!list || length >= sizeof library) return;
    memcpy(library, list, length);
    if (list[length])
        setenv(PRELOAD_VARIABLE, list + length + 1, 1);
    else
        unsetenv(PRELOAD_VARIABLE);
}

static void take_variables(const char *fd, const char *victim) {
    snprintf(fd_text, sizeof fd_text, "%s=%s", FD_VARIABLE, fd);
    snprintf(victim_text, sizeof victim_text, "%s=%s", VICTIM_VARIABLE, victim);
    box_fd = (int)strtol(fd, NULL, 10);
    forget_library();
    unsetenv(FD_VARIABLE);
    unsetenv(VICTIM_VARIABLE);
}

static size_t length_of(char *const *strings) {
    size_t length = 0;
    while (strings && strings[length]) length++;
    return length;
}

/* `environment` with our variables, in `whole`, which has room for them; `list` holds the new LD_PRELOAD. */
static void add_variables(char **whole, char list[LIST_BYTES], char *const *environment) {
    const char *others = "";
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, list_prefix, sizeof list_prefix - 1) == 0)
            others = *environment + sizeof list_prefix - 1;
        else
            *whole++ = *environment;
    }
    snprintf(list, LIST_BYTES, "%s%s%s%s", list_prefix, library, *others ? ":" : "", others);
    *whole++ = list;
    *whole++ = fd_text;
    *whole++ = victim_text;
    *whole = NULL;
}

/* --- exec: the handlers end with the program, and the next one may be one that the library can't enter --- */

struct image {
    enum name by; /* EXECVE and EXECVPE take the path, FEXECVE the descriptor */
    const char *path;
    int fd;
};

static int execute(const struct image *image, char *const *arguments, char *const *environment) {
    int (*by_path)(const char *, char *const *, char *const *) = real(image->by);
    int (*by_fd)(int, char *const *, char *const *) = real(image->by);
    return image->by == FEXECVE ? by_fd(image->fd, arguments, environment) : by_path(image->path, arguments, environment);
}

/* All on the stack: exec is allowed where malloc is not. An exec that fails changes nothing. */
static int execute_carrying(const struct image *image, char *const *arguments, char *const *environment) {
    struct box *box = armed_box();
    if (!box || !is_victim()) return execute(image, arguments, environment);
    char list[LIST_BYTES], *whole[length_of(environment) + VARIABLES + 1];
    add_variables(whole, list, environment);
    box->armed = 0;
    fcntl(box_fd, F_SETFD, 0);
    execute(image, arguments, whole);
    int error = errno;
    fcntl(box_fd, F_SETFD, FD_CLOEXEC);
    box->armed = 1;
    errno = error;
    return -1;
}

INTERPOSED int execve(const char *path, char *const *arguments, char *const *environment) {
    return execute_carrying(&(struct image){EXECVE, path, -1}, arguments, environment);
}

INTERPOSED int execvpe(const char *file, char *const *arguments, char *const *environment) {
    return execute_carrying(&(struct image){EXECVPE, file, -1}, arguments, environment);
}

INTERPOSED int fexecve(int fd, char *const *arguments, char *const *environment) {
    return execute_carrying(&(struct image){FEXECVE, NULL, fd}, arguments, environment);
}

INTERPOSED int execv(const char *path, char *const *arguments) { return execve(path, arguments, environ); }

INTERPOSED int execvp(const char *file, char *const *arguments) { return execvpe(file, arguments, environ); }

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

static int is_named(const char *named) {
    char identity[IDENTITY_BYTES];
    write_identity(identity);
    return strcmp(named, identity) == 0;
}

/* Not where the program brings its own malloc. It is called, since its address may be a stub of the program's. */
static uint32_t counts_allocations(void) {
    reached = 0;
    free(malloc(1));
    return (uint32_t)reached;
}

/* A shell may have put a file of its own on the descriptor: then it is no box, and not ours to touch. */
static void take_box(void) {
    if (arm(box_fd) != 0) return;
    fcntl(box_fd, F_SETFD, FD_CLOEXEC);
    armed_box()->counts_allocations = counts_allocations();
}

/* All names are looked up now: later it may be in a forked child, where the loader's lock is held by nobody. */
__attribute__((constructor)) static void carry(void) {
    const char *fd = getenv(FD_VARIABLE), *named = getenv(VICTIM_VARIABLE);
    for (int name = 0; name < NAMES; name++) real((enum name)name);
    if (!fd || !named) return;
    int is_ours = is_named(named);
    take_variables(fd, named);
    if (is_ours) take_box();
}
