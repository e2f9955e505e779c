#include "guard/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 128 };

static const char *search_path(char *const *environment) {
    for (; *environment; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
    return "/bin:/usr/bin";
}

/* Whether a file may be executed. Anything else, such as a pipe without a writer, is not even opened. */
static int is_program(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return 0;
    if (!S_ISREG(status.st_mode)) return errno = S_ISDIR(status.st_mode) ? EISDIR : EACCES, 0;
    return access(path, X_OK) == 0;
}

int find_program(const char *name, char *const *environment, char *path, size_t size) {
    int refused = 0;
    if (strlen(name) >= size) return errno = ENAMETOOLONG, -1;
    if (strchr(name, '/') || !*name) return is_program(strcpy(path, name)) ? 0 : -1;
    for (const char *at = search_path(environment), *end; at; at = *end ? end + 1 : NULL) {
        end = strchrnul(at, ':');
        int length = (int)(end - at);
        if ((size_t)snprintf(path, size, "%.*s%s%s", length, at, length ? "/" : "", name) >= size) continue;
        if (is_program(path)) return 0;
        if (errno == EACCES) refused = EACCES;
    }
    return errno = refused ? refused : ENOENT, -1;
}

/* Whether a file is a text, by the test that shells use to tell a script without a first line from a program of another
 * machine. */
static int is_text(const char *path) {
    char head[HEAD_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, head, sizeof head);
    if (fd >= 0) close(fd);
    if (length < 0 || (length >= 4 && memcmp(head, "\177ELF", 4) == 0)) return 0;
    char *line_end = memchr(head, '\n', (size_t)length);
    return memchr(head, '\0', line_end ? (size_t)(line_end - head) : (size_t)length) == NULL;
}

static int length_of(char *const *strings) {
    int length = 0;
    while (strings[length]) length++;
    return length;
}

static void execute_text(char *path, char *const *command, char *const *environment) {
    int count = length_of(command);
    char *words[count + 2];
    words[0] = (char *)"sh";
    words[1] = path;
    memcpy(words + 2, command + 1, (size_t)count * sizeof *words);
    execve("/bin/sh", words, environment);
}

void execute(char *const *command, char *const *environment) {
    char path[PATH_MAX];
    if (find_program(command[0], environment, path, sizeof path) != 0) return;
    execve(path, command, environment);
    if (errno != ENOEXEC) return;
    if (is_text(path)) execute_text(path, command, environment);
    errno = ENOEXEC;
}
