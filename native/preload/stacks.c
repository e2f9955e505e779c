#include "preload/stacks.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "preload/real.h"

enum { GUARD_BYTES = 4096, TOUCHED_BYTES = 16384, LEAST_BYTES = 65536, MOST_BYTES = 64 << 20, THREAD_BYTES = 1 << 20 };

static __thread stack_t ours __attribute__((tls_model("initial-exec"))); /* a thread that has none: all zero */
static int is_frugal;

static size_t within(size_t bytes, size_t most) {
    if (bytes > most) bytes = most;
    return bytes < LEAST_BYTES ? LEAST_BYTES : bytes & ~(size_t)(GUARD_BYTES - 1);
}

/* Neither reserved nor touched: a thread costs addresses only. RLIMIT_DATA counts no memory that may grow downwards, and
 * this one can't: below it lies a page that stops what overflows. Not shared, since a child may be born on it. */
static stack_t map_stack(size_t bytes) {
    const stack_t none = {.ss_flags = SS_DISABLE};
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *memory = mmap(NULL, GUARD_BYTES + bytes, PROT_NONE, flags, -1, 0);
    if (memory == MAP_FAILED) return none;
    flags |= MAP_FIXED | MAP_GROWSDOWN;
    if (mmap(memory + GUARD_BYTES, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED)
        return (stack_t){.ss_sp = memory + GUARD_BYTES, .ss_size = bytes};
    munmap(memory, GUARD_BYTES + bytes);
    return none;
}

static size_t limit_of(int resource) {
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur < RLIM_INFINITY ? limit.rlim_cur : SIZE_MAX;
}

static int real_sigaltstack(const stack_t *stack, stack_t *old) {
    return (int)call_kernel(SYS_sigaltstack, (long[6]){(long)stack, (long)old});
}

int is_our_stack(const stack_t *stack) { return ours.ss_sp && stack->ss_sp == ours.ss_sp; }

/* Sets our signal stack in a new program or thread, which has none. Returns whether it is in force. */
static int give(stack_t stack) {
    if (stack.ss_flags & SS_DISABLE || real_sigaltstack(&stack, NULL) != 0) return 0;
    ours = stack;
    return 1;
}

/* Takes our stack out of use. The program may have set up one of its own meanwhile; or it may be at work on ours, which
 * then can't be given back. Returns whether ours is out of use. */
static int disable(void) {
    stack_t current, none = {.ss_flags = SS_DISABLE};
    int is_in_use = real_sigaltstack(NULL, &current) == 0 && is_our_stack(&current);
    return !is_in_use || real_sigaltstack(&none, NULL) == 0;
}

void give_stack_back(void *unused) {
    stack_t stack = ours;
    (void)unused;
    if (!stack.ss_sp || !disable()) return;
    ours = (stack_t){0};
    munmap((char *)stack.ss_sp - GUARD_BYTES, GUARD_BYTES + stack.ss_size);
}

void take_stack(size_t bytes) { give(map_stack(is_frugal ? LEAST_BYTES : within(bytes, THREAD_BYTES))); }

void prepare_stacks(int memory_is_short) {
    is_frugal = limit_of(RLIMIT_AS) != SIZE_MAX;
    if (!give(map_stack(is_frugal ? LEAST_BYTES : within(limit_of(RLIMIT_STACK), MOST_BYTES)))) return;
    char *top = (char *)ours.ss_sp + ours.ss_size;
    for (size_t depth = GUARD_BYTES; memory_is_short && depth <= TOUCHED_BYTES; depth += GUARD_BYTES)
        *(volatile char *)(top - depth) = 0;
}

/* A program that locks all its memory would hold ours as well, against its RLIMIT_MEMLOCK: give up what is not in use. */
static void be_frugal(void) {
    stack_t current, large = ours;
    is_frugal = 1;
    if (large.ss_size <= LEAST_BYTES || real_sigaltstack(NULL, &current) != 0 || current.ss_flags & SS_ONSTACK) return;
    stack_t small = map_stack(LEAST_BYTES);
    if (small.ss_flags & SS_DISABLE || (is_our_stack(&current) && real_sigaltstack(&small, NULL) != 0)) return;
    ours = small;
    munmap((char *)large.ss_sp - GUARD_BYTES, GUARD_BYTES + large.ss_size);
}

INTERPOSED int mlockall(int flags) {
    be_frugal();
    return (int)call_kernel(SYS_mlockall, (long[6]){flags});
}

/* --- what the program sees: no stack of ours, and its own in the place of it --- */

static int is_off(const stack_t *stack) { return stack->ss_flags & SS_DISABLE; }

/* Sets the program's own stack. A program that takes its own away has ours again. */
static int replace(const stack_t *wanted) { return real_sigaltstack(is_off(wanted) ? &ours : wanted, NULL); }

INTERPOSED int sigaltstack(const stack_t *stack, stack_t *old) {
    stack_t current;
    if (!ours.ss_sp || real_sigaltstack(NULL, &current) != 0) return real_sigaltstack(stack, old);
    int hides = is_our_stack(&current);
    int result = !stack || (hides && is_off(stack)) ? 0 : replace(stack);
    if (result == 0 && old) *old = hides ? (stack_t){.ss_flags = SS_DISABLE} : current;
    return result;
}
