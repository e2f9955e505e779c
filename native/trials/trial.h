#pragma once
/* One trial: a victim from its start to its end, in a process that does nothing else meanwhile. */
#include <signal.h>
#include <stdint.h>

#include "box/page.h"
#include "trials/aim.h"
#include "guard/cgroup.h"

enum { KEPT_BYTES = 128 };

/* What was seen of a victim. It is sent as it is; its twin is supervisor/zygote.py. */
struct trial {
    uint32_t magic;
    int32_t wait_status;
    uint32_t intent;
    int32_t survivors;
    int32_t oom_kills; /* -1: not counted, since nothing called for it */
    uint32_t text_bytes;
    uint64_t started_ns;
    uint64_t ended_ns;
    uint64_t peak_rss_bytes;
    uint64_t cpu_us;
    struct box box;
    char text[KEPT_BYTES]; /* the first bytes of what it said on stderr */
};

/* Where all trials of a process take place, and what is fired next. */
struct stand {
    uint32_t memory_limited;
    struct cgroup cgroup; /* version 0: none */
    char *const *command; /* a new image for each; NULL: a fork of this process */
    struct aim aim;       /* for a fork */
    int64_t deadline_ms;  /* < 0: none */
    int64_t grace_ms;
    void (*dawdles)(void); /* called while a victim takes its time */

    int box_fd; /* the rest is prepare()'s */
    struct box *box;
    int32_t oom_kills;    /* so far */
    sigset_t child_ended; /* SIGCHLD, blocked here */
};

/* Arms this process, takes over stdout and stderr, and has it inherit orphans. Returns 0 or -1. */
int prepare(struct stand *stand);

/* Moves a descriptor above those that a victim is given. */
int lift(int fd);

/* Lives one trial. Returns 0, or -1 if this process can't be relied on any more. */
int try_once(struct stand *stand, struct trial *trial);
