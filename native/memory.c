/* Memory that the system will not give. fire() lets none of these run without a limit in force. */
#include "family.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, BIG_CHUNK_BYTES = 1 << 20 };

struct record {
    char header[128];
    char body; /* at 0x80: a field of the record that was never allocated */
};

/* An allocator as an addon has one: it knows when it was refused, and tells nobody. */
static void *allocate(size_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) allocation_refused();
    return memory;
}

struct filling {
    void *last; /* each block begins with the address of the one before */
    int64_t bytes;
};

static void release(struct filling *filling) {
    while (filling->last) {
        void *before = *(void **)filling->last;
        free(filling->last);
        filling->last = before;
    }
}

/* Real memory pressure: every block is touched. The caller who does not check writes through the NULL.
 * Returns 0 when a checked allocation was refused. */
static int fill_one(struct filling *filling, int checks) {
    struct record *record = allocate(CHUNK_BYTES);
    if (!record && checks) return 0;
    launder(record)[offsetof(struct record, body)] = 1;
    memset(record, 1, CHUNK_BYTES);
    *(void **)record = filling->last;
    *filling = (struct filling){record, filling->bytes + CHUNK_BYTES};
    return 1;
}

static enum outcome refused_allocation(const struct shot *shot) {
    struct filling filling = {NULL, 0};
    while (filling.bytes < shot->value[0] && fill_one(&filling, shot->mode == SAFE)) continue;
    release(&filling);
    return DONE;
}

static enum outcome memory_fill(const struct shot *shot) {
    for (int64_t filled = 0; filled < shot->value[0]; filled += BIG_CHUNK_BYTES) {
        void *chunk = allocate(BIG_CHUNK_BYTES);
        if (!chunk) return DID_NOT_FIRE;
        memset((void *)launder(chunk), 1, BIG_CHUNK_BYTES);
    }
    return DONE;
}

FAMILY(memory_faults,
    {.name = "refused_allocation", .family = "memory", .kind = "deterministic", .tiers = "forced dosed",
     .needs = "memory_limit",
     .mechanism = "Fills `bytes` of memory; where malloc() is refused below the limit, it uses the NULL.",
     .expects = "SIGSEGV SEGV_MAPERR null",
     .parameters = {{"bytes", "bytes", 256 << 20, 1 << 20, (int64_t)64 << 30}}, .fire = refused_allocation},
    {.name = "memory_fill", .family = "memory", .kind = "deterministic", .tiers = "forced",
     .needs = "memory_cgroup",
     .mechanism = "Fills `bytes` of memory; where the memory cgroup allows less, the kernel kills the process.",
     .expects = "SIGKILL by the kernel's OOM killer",
     .parameters = {{"bytes", "bytes", 256 << 20, 1 << 20, (int64_t)64 << 30}}, .fire = memory_fill});
