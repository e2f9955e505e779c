#include "guard/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REMOVAL_TRIES = 200, REMOVAL_MS = 5, TEXT_BYTES = 4096 };

/* What one version of the interface calls its files. `members` takes a caller with one thread. In version 1 its threads
 * can be moved one by one, and that needs no grace period of the whole kernel: it is hundreds of times faster than
 * cgroup.procs, and never waits where nothing can kill it. */
struct layout {
    const char *limit, *swap_limit, *peak, *oom, *members;
};

static const struct layout layouts[] = {
    [1] = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control",
           "tasks"},
    [2] = {"memory.max", "memory.swap.max", "memory.peak", "memory.events", "cgroup.procs"},
};

static int open_file(const struct cgroup *cgroup, const char *name, int flags) {
    return openat(cgroup->fd, name, flags | O_CLOEXEC);
}

static int write_number(const struct cgroup *cgroup, const char *name, uint64_t number) {
    char text[32];
    int length = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    int fd = open_file(cgroup, name, O_WRONLY);
    if (fd < 0) return -1;
    int failed = write(fd, text, (size_t)length) != length;
    int error = errno;
    close(fd);
    errno = error;
    return failed ? -1 : 0;
}

static int read_text(const struct cgroup *cgroup, const char *name, char text[TEXT_BYTES]) {
    int fd = open_file(cgroup, name, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t length = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    if (length < 0) return -1;
    text[length] = '\0';
    return 0;
}

/* Swap would let the victim live on past its limit. A kernel without swap accounting has no such file. */
static void forbid_swap(const struct cgroup *cgroup, uint64_t limit_bytes) {
    write_number(cgroup, layouts[cgroup->version].swap_limit, cgroup->version == 1 ? limit_bytes : 0);
}

static int open_folder(int parent_fd, const char *path) {
    return openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

int cgroup_open(struct cgroup *cgroup, int version, const char *path) {
    *cgroup = (struct cgroup){.version = version, .fd = -1, .parent_fd = -1};
    if (version) cgroup->fd = open_folder(AT_FDCWD, path);
    return !version || cgroup->fd >= 0 ? 0 : -1;
}

static int create(struct cgroup *cgroup, const struct place *place, const char *file, uint64_t value) {
    *cgroup = (struct cgroup){.fd = -1, .name = place->name};
    cgroup->parent_fd = open_folder(AT_FDCWD, place->parent);
    if (cgroup->parent_fd < 0 || mkdirat(cgroup->parent_fd, place->name, 0755) != 0) return -1;
    cgroup->version = place->version;
    cgroup->fd = open_folder(cgroup->parent_fd, place->name);
    if (cgroup->fd >= 0 && write_number(cgroup, file, value) == 0) return 0;
    int error = errno;
    cgroup_remove(cgroup);
    errno = error;
    return -1;
}

int memory_cgroup_create(struct cgroup *cgroup, const struct place *place, uint64_t limit_bytes) {
    if (create(cgroup, place, layouts[place->version].limit, limit_bytes) != 0) return -1;
    forbid_swap(cgroup, limit_bytes);
    return 0;
}

int pids_cgroup_create(struct cgroup *cgroup, const struct place *place, uint64_t processes) {
    return create(cgroup, place, "pids.max", processes);
}

int cgroup_limit_processes(const struct cgroup *cgroup, uint64_t processes) {
    return write_number(cgroup, "pids.max", processes);
}

static int join(const struct cgroup *cgroup) {
    return cgroup->version ? write_number(cgroup, layouts[cgroup->version].members, 0) : 0;
}

int cgroups_join(const struct cgroups *cgroups) {
    return join(&cgroups->memory) != 0 ? -1 : join(&cgroups->pids);
}

/* A number of the file in which the kernel tells of OOM; `key` ends in a blank. */
static int32_t read_oom(const struct cgroup *cgroup, const char *key) {
    char text[TEXT_BYTES];
    size_t length = strlen(key);
    if (!cgroup->version || read_text(cgroup, layouts[cgroup->version].oom, text) != 0) return -1;
    for (char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, length) == 0) return (int32_t)strtol(line + length, NULL, 10);
    }
    return -1;
}

int32_t cgroup_oom_kills(const struct cgroup *cgroup) { return read_oom(cgroup, "oom_kill "); }

int32_t cgroup_is_stuck(const struct cgroup *cgroup) { return read_oom(cgroup, "under_oom "); }

uint64_t cgroup_peak_bytes(const struct cgroup *cgroup) {
    char text[TEXT_BYTES];
    if (!cgroup->version || read_text(cgroup, layouts[cgroup->version].peak, text) != 0) return 0;
    return strtoull(text, NULL, 10);
}

static void remove_tree(int parent_fd, const char *name);

/* Removes what is below. Each level holds a descriptor, so a tree deeper than there are descriptors stays. */
static void remove_children(int parent_fd, const char *name) {
    int fd = open_folder(parent_fd, name);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') remove_tree(fd, entry->d_name);
    if (folder) closedir(folder);
}

/* The kernel keeps a cgroup busy for a moment after its last process was reaped, and as long as there are processes in
 * it. */
static void remove_tree(int parent_fd, const char *name) {
    for (int try = 0; try < REMOVAL_TRIES && unlinkat(parent_fd, name, AT_REMOVEDIR) != 0 && errno == EBUSY; try++) {
        remove_children(parent_fd, name);
        if (try) poll(NULL, 0, REMOVAL_MS);
    }
}

void cgroup_remove(struct cgroup *cgroup) {
    if (!cgroup->version) return;
    remove_tree(cgroup->parent_fd, cgroup->name);
    cgroup->version = 0;
}
