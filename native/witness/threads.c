#include "witness/threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_entry(int proc, pid_t thread, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "%d/%s", (int)thread, name);
    return openat(proc, path, O_RDONLY | O_CLOEXEC);
}

static FILE *open_file(int proc, pid_t thread, const char *name) {
    int fd = open_entry(proc, thread, name);
    return fd < 0 ? NULL : fdopen(fd, "r");
}

int list_threads(int proc, pid_t process, pid_t threads[MOST_THREADS]) {
    int count = 0, fd = open_entry(proc, process, "task");
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) return 0;
    for (struct dirent *entry; count < MOST_THREADS && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.') threads[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
    closedir(folder);
    return count;
}

/* The value of a line of /proc/THREAD/status, which `format` reads; 0, or -1. */
static int read_status(int proc, pid_t thread, const char *format, void *value) {
    char line[256];
    int found = -1;
    FILE *file = open_file(proc, thread, "status");
    while (file && found < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, format, value) == 1) found = 0;
    if (file) fclose(file);
    return found;
}

pid_t process_of(int proc, pid_t thread) {
    int process;
    return read_status(proc, thread, "Tgid: %d", &process) == 0 ? process : -1;
}

int is_caught(int proc, pid_t thread, int signal_number) {
    uint64_t caught;
    return read_status(proc, thread, "SigCgt: %" SCNx64, &caught) == 0 && caught >> (signal_number - 1) & 1;
}

/* A module's first byte is where the file is mapped first: its parts lie one behind the other. */
void find_place(int proc, pid_t thread, struct crash *crash) {
    char line[PATH_MAX + 128], path[PATH_MAX], first[PATH_MAX] = "";
    uint64_t start, end, base = 0;
    FILE *file = open_file(proc, thread, "maps");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %*s %4095[^\n]", &start, &end, path) != 3) continue;
        if (strcmp(path, first) != 0) base = start;
        strcpy(first, path);
        if (crash->program_counter < start || crash->program_counter >= end) continue;
        const char *last = strrchr(path, '/');
        snprintf(crash->module, sizeof crash->module, "%.*s", MODULE_BYTES - 1, last ? last + 1 : path);
        crash->offset = crash->program_counter - base;
        break;
    }
    if (file) fclose(file);
}
