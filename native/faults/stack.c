/* Stacks that run out or are overwritten. */
#include "faults/family.h"

#include <alloca.h>
#include <sys/resource.h>

enum { FRAME_BYTES = 4096, STACK_BYTES = 8 << 20, SMALL_STACK_BYTES = 512 << 10 };

/* Not a tail call, and every frame is touched: it can't become a loop. */
__attribute__((noinline)) static int recurse(int depth) {
    volatile char frame[FRAME_BYTES];
    frame[0] = (char)depth;
    int below = recurse(depth + 1);
    return below + frame[0];
}

/* An unlimited stack would eat the machine instead of ending. */
static void bound_stack(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_cur > bytes) limit.rlim_cur = bytes;
    setrlimit(RLIMIT_STACK, &limit);
}

static enum outcome stack_overflow(const struct shot *shot) {
    (void)shot;
    bound_stack(STACK_BYTES);
    recurse(0);
    return DID_NOT_FIRE;
}

static enum outcome stack_limit(const struct shot *shot) {
    (void)shot;
    bound_stack(SMALL_STACK_BYTES);
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
    bound_stack(STACK_BYTES);
    if (start_thread(&thread, overflow_here, NULL) == 0) pthread_join(thread, NULL);
    return DID_NOT_FIRE;
}

/* One frame steps over the guard: its address is near no stack pointer that anyone would compare it with. */
static enum outcome huge_local(const struct shot *shot) {
    bound_stack(STACK_BYTES);
    volatile char *local = alloca((size_t)shot->value[0]);
    *launder(local) = 1;
    return DID_NOT_FIRE;
}

/* The frame's own return address, replaced by one that no program can have. Other architectures keep it elsewhere. */
__attribute__((noinline)) static void smash_frame(void) {
#if defined(__x86_64__)
    volatile uintptr_t *frame = __builtin_frame_address(0);
    frame[1] = (uintptr_t)0x4141414141414141;
#endif
}

static enum outcome smashed_return(const struct shot *shot) {
    (void)shot;
    smash_frame();
    return DID_NOT_FIRE;
}

static enum outcome stack_canary(const struct shot *shot) {
    (void)shot;
    overflow_protected_buffer(64);
    return DID_NOT_FIRE;
}

#define STACK .family = "stack", .kind = "deterministic", .tiers = "forced"

FAMILY(stack_faults,
    {STACK, .name = "stack_overflow", .needs = "", .fire = stack_overflow,
     .mechanism = "Recurses without end on the main thread.", .expects = "SIGSEGV SEGV_MAPERR stack"},
    {STACK, .name = "stack_limit", .needs = "", .fire = stack_limit,
     .mechanism = "Recurses past a small RLIMIT_STACK.", .expects = "SIGSEGV SEGV_MAPERR stack"},
    {STACK, .name = "stack_overflow_thread", .needs = "", .fire = stack_overflow_thread,
     .mechanism = "Recurses without end on a worker thread, into its guard page.",
     .expects = "SIGSEGV SEGV_ACCERR stack | SIGSEGV SEGV_MAPERR stack"},
    {STACK, .name = "huge_local", .needs = "",
     .mechanism = "Writes to the far end of a local array that is larger than the stack.",
     .expects = "SIGSEGV SEGV_MAPERR stack | SIGSEGV SEGV_MAPERR wild",
     .parameters = {{"bytes", "bytes", 64 << 20, 16 << 20, 1 << 30}}, .fire = huge_local},
    {STACK, .name = "smashed_return", .needs = "x86_64", .fire = smashed_return,
     .mechanism = "Returns to an address that was overwritten; it is reported like NULL.",
     .expects = "SIGSEGV SI_KERNEL null"},
    {STACK, .name = "stack_canary", .needs = "glibc", .fire = stack_canary,
     .mechanism = "Overflows a local array; the stack protector notices and aborts.",
     .expects = "SIGABRT SI_TKILL self"});
