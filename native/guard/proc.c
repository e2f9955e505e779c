#include "guard/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAT_BYTES = 2048, EXIT_CODE_FIELD = 52, STATE_FIELD = 3 };

int open_proc(void) { return open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC); }

/* Whether we may not look at the process: then the kernel says so, before it says that the link of an ended process leads
 * nowhere. */
static int is_hidden(int proc, pid_t pid) {
    char name[32], target[8];
    snprintf(name, sizeof name, "%d/exe", (int)pid);
    return readlinkat(proc, name, target, sizeof target) < 0 && errno != ENOENT;
}

static int read_stat(int proc, pid_t pid, char text[STAT_BYTES]) {
    char name[32];
    snprintf(name, sizeof name, "%d/stat", (int)pid);
    int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t length = read(fd, text, STAT_BYTES - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    return length > 0 ? 0 : -1;
}

/* Finds the start of a field, counted from 1. The second field is a name in brackets that may hold anything. */
static const char *find_field(const char *text, int wanted) {
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < wanted; field++) {
        at = strchr(at, ' ');
        if (at) at++;
    }
    return at;
}

enum shown shown_status(int proc, pid_t pid, int *status) {
    char text[STAT_BYTES];
    if (read_stat(proc, pid, text) != 0) return ABSENT;
    const char *state = find_field(text, STATE_FIELD), *code = find_field(text, EXIT_CODE_FIELD);
    if (!state || *state != 'Z' || !code) return ABSENT;
    *status = (int)strtol(code, NULL, 10);
    return *status == 0 && is_hidden(proc, pid) ? HIDDEN : SHOWN;
}
