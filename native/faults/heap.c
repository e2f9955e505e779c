/* The heap: memory given back and used again, and its bookkeeping overwritten. */
#include "faults/family.h"

#include <stddef.h>
#include <stdlib.h>

enum { MAPPED_BYTES = 4 << 20, SMALL_BYTES = 24, RARE_BYTES = 888, LARGE_BYTES = 2048, GAP_BYTES = 1024, TURNS = 1000 };

/* So large a block is a mapping of its own: free() returns its pages to the kernel. */
static enum outcome use_after_free(const struct shot *shot) {
    (void)shot;
    volatile char *block = launder(malloc(MAPPED_BYTES));
    if (!block) return DID_NOT_FIRE;
    block[0] = 1;
    free((void *)block);
    (void)launder(block)[0];
    return DID_NOT_FIRE;
}

/* Allocates until the allocator gives `block` out again, which it may do at once or after others. */
static volatile char *next_owner(volatile char *block) {
    for (int turn = 0; turn < TURNS; turn++) {
        volatile char *next = launder(malloc(RARE_BYTES));
        if (!next || next == block) return next;
    }
    return NULL;
}

/* The block's next owner and its last one write to the same bytes: nothing notices. */
static enum outcome use_after_free_small(const struct shot *shot) {
    (void)shot;
    volatile char *before = launder(malloc(RARE_BYTES));
    if (!before) return DID_NOT_FIRE;
    free((void *)launder(before));
    volatile char *after = next_owner(before);
    if (after) after[0] = 1;
    launder(before)[0] = 2;
    return after && after[0] == 2 ? SILENT : DID_NOT_FIRE;
}

static enum outcome double_free(const struct shot *shot) {
    (void)shot;
    volatile char *block = launder(malloc(SMALL_BYTES));
    if (!block) return DID_NOT_FIRE;
    free((void *)launder(block));
    free((void *)launder(block));
    return DID_NOT_FIRE;
}

/* What stands where its size would is defined: left as it came, it might name another arena. */
static enum outcome invalid_free(const struct shot *shot) {
    (void)shot;
    volatile char *block = launder(malloc(LARGE_BYTES));
    if (!block) return DID_NOT_FIRE;
    for (int at = 0; at < 8; at++) block[at] = 0;
    free((void *)launder(block + 8));
    return DID_NOT_FIRE;
}

/* What stands where a block's size would is no size. */
static enum outcome free_of_stack(const struct shot *shot) {
    volatile uintptr_t local[8] __attribute__((aligned(16)));
    (void)shot;
    for (int at = 0; at < 8; at++) local[at] = 0;
    free((void *)launder(local + 2));
    return DID_NOT_FIRE;
}

/* A block with `*next` close behind it, whatever holes the heap has: those are filled first. */
static volatile char *neighbours(volatile char **next) {
    volatile char *block = launder(malloc(LARGE_BYTES));
    for (int turn = 0; block && turn < 1000; turn++, block = *next) {
        *next = launder(malloc(LARGE_BYTES));
        ptrdiff_t distance = *next - block;
        if (*next && distance > LARGE_BYTES && distance <= LARGE_BYTES + GAP_BYTES) return block;
    }
    return NULL;
}

/* The size of the block behind is overwritten; the allocator finds out when it gets that block back. */
static enum outcome heap_overflow(const struct shot *shot) {
    (void)shot;
    volatile char *second = NULL, *first = neighbours(&second);
    if (!first || !malloc(LARGE_BYTES)) return DID_NOT_FIRE;
    for (volatile char *at = first + LARGE_BYTES; at < second; at++) *at = 0x41;
    free((void *)launder((void *)second));
    return DID_NOT_FIRE;
}

static enum outcome heap_underflow(const struct shot *shot) {
    (void)shot;
    volatile char *block = launder(malloc(LARGE_BYTES));
    if (!block || !malloc(LARGE_BYTES)) return DID_NOT_FIRE;
    for (int at = 1; at <= 16; at++) block[-at] = 0x41;
    free((void *)launder(block));
    return DID_NOT_FIRE;
}

#define HEAP .family = "heap", .tiers = "forced"
#define FOUND_BY_GLIBC .kind = "deterministic", .needs = "glibc", .expects = "SIGABRT SI_TKILL self"
/* musl has no words for it: it executes hlt, or writes through NULL. */
#define FOUND_BY_ALL .kind = "deterministic", .needs = "", \
    .expects = "SIGABRT SI_TKILL self; musl: SIGSEGV SI_KERNEL null | SIGSEGV SEGV_MAPERR null"

FAMILY(heap_faults,
    {HEAP, .name = "use_after_free", .kind = "deterministic", .needs = "", .fire = use_after_free,
     .mechanism = "Reads a block after free() has returned its pages to the kernel.",
     .expects = "SIGSEGV SEGV_MAPERR wild"},
    {HEAP, .name = "use_after_free_small", .kind = "silent", .needs = "glibc", .fire = use_after_free_small,
     .mechanism = "Writes to a small block after free() has given it to its next owner.", .expects = "silent"},
    {HEAP, FOUND_BY_ALL, .name = "double_free", .fire = double_free,
     .mechanism = "Frees the same small block twice; the allocator notices and aborts."},
    {HEAP, FOUND_BY_ALL, .name = "invalid_free", .fire = invalid_free,
     .mechanism = "Frees an address in the middle of a block."},
    {HEAP, FOUND_BY_GLIBC, .name = "free_of_stack", .fire = free_of_stack,
     .mechanism = "Frees a local variable."},
    {HEAP, FOUND_BY_ALL, .name = "heap_overflow", .fire = heap_overflow,
     .mechanism = "Writes past the end of a block over the bookkeeping of the next, which is freed then."},
    {HEAP, FOUND_BY_GLIBC, .name = "heap_underflow", .fire = heap_underflow,
     .mechanism = "Writes before the start of a block over its own bookkeeping, and frees it."});
