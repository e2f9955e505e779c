#pragma once
/* The victim's parent: an ordinary process beside it, which reaps it when the guard has seen how it ended. Where there
 * is no namespace it is the first to inherit what the victim leaves behind, and kills that when the guard is dead. */
#include "guard/cgroup.h"
#include "guard/order.h"

struct parent {
    pid_t pid;
    int line;
    int victim_line; /* until the victim's exec */
    pid_t victim;       /* as seen from here; it leads no group, is in that of `pid`, and waits for the word to go */
    pid_t victim_there, group_there; /* as it and its group are called where it lives */
};

/* Starts the parent and the victim. Returns 0, or -1 with the failed step and errno if there is no victim. What was started
 * is in `parent` either way. */
int start_parent(struct parent *parent, const struct order *order, const struct cgroups *cgroups, int32_t *step);
