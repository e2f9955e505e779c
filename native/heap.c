/* Memory given back and used again. */
#include "family.h"

#include <stdlib.h>

enum { MAPPED_BYTES = 4 << 20, SMALL_BYTES = 24 };

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

static enum outcome double_free(const struct shot *shot) {
    (void)shot;
    volatile char *block = launder(malloc(SMALL_BYTES));
    if (!block) return DID_NOT_FIRE;
    free((void *)launder(block));
    free((void *)launder(block));
    return DID_NOT_FIRE;
}

FAMILY(heap_faults,
    {.name = "use_after_free", .family = "heap", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Reads a block after free() has returned its pages to the kernel.",
     .expects = "SIGSEGV SEGV_MAPERR wild", .fire = use_after_free},
    {.name = "double_free", .family = "heap", .kind = "deterministic", .tiers = "forced", .needs = "glibc",
     .mechanism = "Frees the same small block twice; the allocator notices and aborts.",
     .expects = "SIGABRT SI_TKILL self", .fire = double_free});
