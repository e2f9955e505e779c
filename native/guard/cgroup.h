#pragma once
/* Cgroups of one attempt. The guard owns them from mkdir to rmdir, since it outlives the supervisor. */
#include <stdint.h>
#include <sys/types.h>

struct cgroup {
    int version;       /* 1, 2, or 0 for none */
    int fd, parent_fd; /* its folder and the one above: what a victim mounts over their paths is not looked at */
    const char *name;
};

struct cgroups {
    struct cgroup memory, pids;
};

/* Where a cgroup is made: `parent`/`name`. */
struct place {
    int version;
    const char *parent, *name;
};

/* Opens a cgroup that somebody else owns. Returns 0, or -1 with errno. */
int cgroup_open(struct cgroup *cgroup, int version, const char *path);

/* Creates a cgroup with a hard limit on memory, swap included. Returns 0, or -1 with errno. */
int memory_cgroup_create(struct cgroup *cgroup, const struct place *place, uint64_t limit_bytes);

/* Creates a cgroup with a limit on processes and threads. Returns 0, or -1 with errno. */
int pids_cgroup_create(struct cgroup *cgroup, const struct place *place, uint64_t processes);

/* Sets the same limit on a cgroup that is there already. Returns 0, or -1 with errno. */
int cgroup_limit_processes(const struct cgroup *cgroup, uint64_t processes);

/* Moves the calling process in. 0, or -1 with errno. */
int cgroups_join(const struct cgroups *cgroups);

/* Processes that the kernel's OOM killer ended in this cgroup; -1 when it can't be read. */
int32_t cgroup_oom_kills(const struct cgroup *cgroup);

/* Whether processes sleep there until someone makes room, as they do where the OOM killer is disabled: 1 or 0, or -1
 * when the kernel does not say. Version 1 only. */
int32_t cgroup_is_stuck(const struct cgroup *cgroup);

/* Highest charge so far in bytes; 0 when the kernel does not say. */
uint64_t cgroup_peak_bytes(const struct cgroup *cgroup);

/* Removes the cgroup with all that was made below it. */
void cgroup_remove(struct cgroup *cgroup);
