#pragma once
/* What the supervisor asks for: the guard's command line. */
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "witness/witness.h"

enum terminal_use {
    TERMINAL_NONE,
    TERMINAL_AT_NEED, /* lent when the victim stops for want of it */
    TERMINAL_AT_ONCE, /* lent from the start */
};

struct order {
    int64_t deadline_ms, grace_ms; /* deadline < 0: none */
    uint64_t rlimits[RLIM_NLIMITS]; /* of the victim, soft and hard; 0: it keeps ours */
    uint64_t cgroup_bytes, processes; /* of its cgroups */
    uint64_t core_bytes;
    int cgroup_version, pids_version;
    const char *cgroup_parent, *pids_parent, *cgroup_name;
    int control_fd;   /* the socket to the supervisor */
    pid_t supervisor; /* its pid, which is our parent's */
    int box_fd, channel_fd; /* for the victim; -1: it gets none */
    enum witness_kind witness;
    int witness_fd; /* the page of the second witness, which the victim never gets */
    int own_namespace;
    int clean; /* the victim is ours: it inherits no disposition, no mask and no descriptor but those above */
    uint64_t ignored; /* of the C library's own signals, a bit each */
    uint32_t closed; /* standard streams that it has not, a bit each, since whoever asked has none there either */
    enum terminal_use terminal;
    const char *directory; /* where the victim works; NULL: here */
    const char *preload;   /* the library that carries the box into a foreign command */
    const char *box_file;  /* where it finds the box by name; removed at the end */
    char **command;
};

/* Reads the words. Returns 0, or -1 for words that mean nothing. */
int take_order(int count, char **words, struct order *order);
