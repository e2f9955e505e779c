#pragma once
/* The victim between fork and exec. */
#include "guard/cgroup.h"
#include "guard/order.h"

enum step {
    STEP_NONE,
    STEP_NAMESPACE,
    STEP_CGROUP,
    STEP_FORK,
    STEP_PIDFD,
    STEP_LIMITS,
    STEP_JOIN,
    STEP_EXEC,
    STEP_WAIT,
    STEP_SWEEP,
    STEP_LOST,
    STEP_DOUBT,
    STEP_END,
};

/* Says hello on `line`, waits for the word to go, and becomes the command; whatever fails is said on `line`, which ends
 * with the exec. It may share its memory with its parent, which sleeps meanwhile. */
_Noreturn void become_victim(const struct order *order, const struct cgroups *cgroups, int line);
