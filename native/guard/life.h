#pragma once
/* The life of one victim, as the guard sees it: from the word to go until it has ended. */
#include "guard/cgroup.h"
#include "guard/init.h"
#include "guard/order.h"
#include "guard/parent.h"
#include "guard/report.h"
#include "guard/terminal.h"

/* The ladder to the victim's end, climbed from the top. A rung is left by time, or by a word of the supervisor's. */
enum rung {
    LIVING,    /* until the deadline */
    TELL_TERM, /* the supervisor journals what is about to be sent */
    TERM,
    TELL_KILL,
    KILL,
    THAW, /* what SIGKILL does not end may be frozen */
    LOST,
};

struct failure {
    int32_t step, error;
};

struct life {
    const struct order *order;
    const struct cgroups *cgroups;
    struct report *report;
    struct init init;
    struct parent parent;
    struct terminal terminal;
    struct witness witness;
    int proc;          /* the /proc of our own namespace */
    int supervisor_fd; /* a pidfd */
    int victim_fd;     /* a pidfd */
    enum rung rung;
    uint64_t alarm_ns; /* when the rung is left without a word */
    int refusal;       /* why the last signal did not reach the victim */
    int is_abandoned, has_ended, is_orphaned; /* its parent did not answer */
    struct failure failure;
};

uint64_t now_ns(void);

/* Returns when the victim has ended, or when its end can't be told truly any more: then there is a failure. The victim
 * is left unreaped, so its pid can't be another's while we still signal it. */
void watch(struct life *life);
