/* Stacks that run out. */
#include "family.h"

#include <sys/resource.h>

enum { FRAME_BYTES = 4096, STACK_BYTES = 8 << 20 };

/* Not a tail call, and every frame is touched: it can't become a loop. */
static int recurse(int depth) {
    volatile char frame[FRAME_BYTES];
    frame[0] = (char)depth;
    int below = recurse(depth + 1);
    return below + frame[0];
}

/* An unlimited stack would eat the machine instead of ending. */
static void bound_stack(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_cur > STACK_BYTES) limit.rlim_cur = STACK_BYTES;
    setrlimit(RLIMIT_STACK, &limit);
}

static enum outcome stack_overflow(const struct shot *shot) {
    (void)shot;
    bound_stack();
    recurse(0);
    return DID_NOT_FIRE;
}

static void *overflow_here(void *unused) {
    recurse(0);
    return unused;
}

static enum outcome stack_overflow_thread(const struct shot *shot) {
    (void)shot;
    pthread_t thread;
    bound_stack();
    if (start_thread(&thread, overflow_here, NULL) == 0) pthread_join(thread, NULL);
    return DID_NOT_FIRE;
}

FAMILY(stack_faults,
    {.name = "stack_overflow", .family = "stack", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Recurses without end on the main thread.",
     .expects = "SIGSEGV SEGV_MAPERR stack", .fire = stack_overflow},
    {.name = "stack_overflow_thread", .family = "stack", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Recurses without end on a worker thread, into its guard page.",
     .expects = "SIGSEGV SEGV_ACCERR stack | SIGSEGV SEGV_MAPERR stack", .fire = stack_overflow_thread});
