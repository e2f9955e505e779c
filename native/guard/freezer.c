#include "guard/freezer.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The part of a line of /proc/PID/cgroup behind "N:freezer:", for the hierarchy that has the freezer. 0, or -1. */
static int read_place(int proc, const char *name, char place[PATH_MAX]) {
    char line[PATH_MAX + 64];
    int found = -1, fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    while (file && found != 0 && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path = '\0';
        if (!strstr(controllers, "freezer")) continue;
        found = snprintf(place, PATH_MAX, "%.*s", (int)strcspn(path + 1, "\n"), path + 1) > 0 ? 0 : -1;
    }
    if (file) fclose(file);
    return found;
}

/* Where the hierarchy is mounted. */
static int read_mount_point(int proc, char point[PATH_MAX]) {
    char line[2 * PATH_MAX];
    int found = -1, fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    while (file && found != 0 && fgets(line, sizeof line, file)) {
        char *kind = strstr(line, " - cgroup ");
        if (kind && strstr(kind, "freezer")) found = sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 ? 0 : -1;
    }
    if (file) fclose(file);
    return found;
}

static void set_thawed(const char *point, const char *place) {
    char path[2 * PATH_MAX + 32];
    snprintf(path, sizeof path, "%s%s/freezer.state", point, place);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, "THAWED", 6) < 0) { /* then it stays frozen, and its end is not seen */
    }
    close(fd);
}

/* Whether `place` is `own` or above it. */
static int is_above(const char *place, const char *own) {
    size_t length = strlen(place);
    return strncmp(place, own, length) == 0 && (own[length] == '/' || own[length] == '\0' || length <= 1);
}

void thaw(int proc, pid_t pid) {
    char name[32], place[PATH_MAX], own[PATH_MAX], point[PATH_MAX];
    snprintf(name, sizeof name, "%d/cgroup", (int)pid);
    if (read_place(proc, name, place) != 0 || read_place(proc, "self/cgroup", own) != 0) return;
    if (read_mount_point(proc, point) != 0) return;
    while (*place == '/' && !is_above(place, own)) {
        set_thawed(point, place);
        *strrchr(place, '/') = '\0';
    }
}
