/* exec: the handlers end with the program, and whether the next one can carry the library is decided anew. The variables
 * come back for that one exec; nothing else that the victim starts gets them. Nothing is allocated: exec is allowed where
 * malloc is not. */
#include "preload/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "box/image.h"
#include "box/victim.h"
#include "preload/environment.h"
#include "preload/filters.h"
#include "preload/real.h"

extern char **environ;

static int execute(const struct image *image, char *const *arguments, char *const *environment) {
    if (image->path) return (int)call_kernel(SYS_execve, (long[6]){(long)image->path, (long)arguments, (long)environment});
    return (int)call_kernel(SYS_execveat, (long[6]){image->fd, (long)"", (long)arguments, (long)environment, AT_EMPTY_PATH});
}

void leave_box_behind(const char *why) {
    if (!armed_box() || !is_victim()) return;
    armed_box()->armed = UNARMED;
    note_reason(armed_box(), NULL, why);
}

void stay_with_box(void) {
    if (!armed_box() || !is_victim()) return;
    armed_box()->armed = ARMED_NOW;
    note_reason(armed_box(), NULL, NULL);
}

/* A thread's stack may be a small one, so what takes room is here, for one exec at a time. */
static struct variables variables;
static int is_executing;

static int find_out(const struct image *image, char *const *environment, char **whole) {
    struct box *box = armed_box();
    handed_over()->is_filtered = has_filter();
    if (has_own_filter()) {
        note_reason(box, NULL, "a filter of the program's may forbid what the library does");
        return 0;
    }
    if (!can_carry(handed_over(), image, environment, box)) return 0;
    if (add_variables(whole, &variables, handed_over(), environment) == 0) return 1;
    note_reason(box, NULL, "LD_PRELOAD is too long");
    return 0;
}

/* An exec that fails changes nothing. */
static __attribute__((noinline)) int execute_carrying(const struct image *image, char *const *arguments,
                                                      char *const *environment) {
    char *whole[count_strings(environment) + ADDED], program[MODULE_BYTES];
    memcpy(program, handed_over()->program, sizeof program);
    int carries = find_out(image, environment, whole);
    armed_box()->armed = carries ? EXPECTED : UNARMED;
    execute(image, arguments, carries ? whole : environment);
    if (carries && errno == E2BIG) {
        leave_box_behind(no_room);
        execute(image, arguments, environment);
    }
    int error = errno;
    memcpy(handed_over()->program, program, sizeof program);
    stay_with_box();
    errno = error;
    return -1;
}

/* Only one thread at a time can use this; a second one goes on without it. */
static int execute_image(const struct image *image, char *const *arguments, char *const *environment) {
    if (!armed_box() || !is_victim()) return execute(image, arguments, environment);
    if (__atomic_exchange_n(&is_executing, 1, __ATOMIC_ACQUIRE)) {
        leave_box_behind("two threads were executing");
        return execute(image, arguments, environment);
    }
    int result = execute_carrying(image, arguments, environment), error = errno;
    __atomic_store_n(&is_executing, 0, __ATOMIC_RELEASE);
    errno = error;
    return result;
}

INTERPOSED int execve(const char *path, char *const *arguments, char *const *environment) {
    return execute_image(&(struct image){path, -1}, arguments, environment);
}

INTERPOSED int fexecve(int fd, char *const *arguments, char *const *environment) {
    return execute_image(&(struct image){NULL, fd}, arguments, environment);
}

INTERPOSED int execveat(int fd, const char *path, char *const *arguments, char *const *environment, int flags) {
    leave_box_behind("executed by execveat()");
    int result = (int)call_kernel(SYS_execveat, (long[6]){fd, (long)path, (long)arguments, (long)environment, flags});
    int error = errno;
    stay_with_box();
    errno = error;
    return result;
}

INTERPOSED int execv(const char *path, char *const *arguments) { return execve(path, arguments, environ); }

/* --- by name: the C library's own search would not come back to us --- */

/* A text that the kernel does not take is a script for the shell. */
static int execute_text(const char *path, char *const *arguments, char *const *environment) {
    size_t count = count_strings(arguments);
    const char *words[count + 2];
    words[0] = "/bin/sh";
    words[1] = path;
    for (size_t i = 1; i <= count; i++) words[i + 1] = arguments[i];
    if (count == 0) words[2] = NULL;
    return execve("/bin/sh", (char *const *)(uintptr_t)words, environment);
}

static int execute_file(const char *path, char *const *arguments, char *const *environment) {
    execve(path, arguments, environment);
    return errno == ENOEXEC ? execute_text(path, arguments, environment) : -1;
}

static const char *search_path(void) {
    for (char **at = environ; at && *at; at++)
        if (begins_with(*at, "PATH=")) return *at + strlen("PATH=");
    return "/bin:/usr/bin";
}

/* Whether the search goes on behind this error. */
static int is_missing(int error) {
    return error == ENOENT || error == ESTALE || error == ENOTDIR || error == ENODEV || error == ETIMEDOUT;
}

INTERPOSED int execvpe(const char *file, char *const *arguments, char *const *environment) {
    char path[PATH_MAX + NAME_MAX];
    int is_denied = 0;
    size_t name = strnlen(file, PATH_MAX);
    if (strchr(file, '/')) return execute_file(file, arguments, environment);
    if (!*file || name > NAME_MAX) return errno = *file ? ENAMETOOLONG : ENOENT, -1;
    for (const char *folder = search_path(), *end; folder; folder = *end ? end + 1 : NULL) {
        end = strchrnul(folder, ':');
        size_t length = (size_t)(end - folder);
        if (length >= PATH_MAX) continue;
        memcpy(path, folder, length);
        if (length) path[length++] = '/';
        memcpy(path + length, file, name + 1);
        execute_file(path, arguments, environment);
        if (errno == EACCES) is_denied = 1;
        else if (!is_missing(errno)) return -1;
    }
    if (is_denied) errno = EACCES;
    return -1;
}

INTERPOSED int execvp(const char *file, char *const *arguments) { return execvpe(file, arguments, environ); }

/* --- with the arguments in a list --- */

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
