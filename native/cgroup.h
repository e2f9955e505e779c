#pragma once
/* One memory cgroup for one attempt. The guard owns it from mkdir to rmdir, since it outlives the supervisor. */
#include <limits.h>
#include <stdint.h>

struct cgroup {
    int version; /* 1, 2, or 0 for none */
    char path[PATH_MAX];
};

/* Makes `parent`/crash-harness-PID with a hard limit, swap included. 0, or -1 with errno. */
int cgroup_create(struct cgroup *cgroup, int version, const char *parent, uint64_t limit_bytes);

/* Moves the calling process in. 0, or -1 with errno. */
int cgroup_join(const struct cgroup *cgroup);

/* Processes that the kernel's OOM killer ended in this cgroup; -1 when it can't be read. */
int32_t cgroup_oom_kills(const struct cgroup *cgroup);

/* Highest charge so far in bytes; 0 when the kernel does not say. */
uint64_t cgroup_peak_bytes(const struct cgroup *cgroup);

void cgroup_remove(struct cgroup *cgroup);
