/* Memory that the system will not give. fire() lets none of these run without a limit in force. */
#include "faults/family.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 << 10, BIG_CHUNK_BYTES = 1 << 20, HUGE_BYTES = 2 << 20 };

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

/* Makes real memory pressure: every block is touched. Returns 0 when one was refused. */
static int fill_one(struct filling *filling) {
    struct record *record = allocate(CHUNK_BYTES);
    if (!record) return 0;
    memset(record, 1, CHUNK_BYTES);
    *(void **)record = filling->last;
    *filling = (struct filling){record, filling->bytes + CHUNK_BYTES};
    return 1;
}

/* Returns 1 when a block was refused before `bytes` were filled. What was filled is kept, and the pressure with it. */
static int is_refused(struct filling *filling, int64_t bytes) {
    while (filling->bytes < bytes)
        if (!fill_one(filling)) return 1;
    return 0;
}

/* What a program makes of a NULL from malloc(): it never looks, it gives up loudly, or it says so and leaves. */
static void use_null(void) { launder(NULL)[offsetof(struct record, body)] = 1; }

static void give_up(void) { abort(); }

static void say_so(void) {
    static const char text[] = "out of memory\n";
    _exit(write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 1 : ENOMEM);
}

static enum outcome fill_then(const struct shot *shot, void (*react)(void)) {
    struct filling filling = {NULL, 0};
    if (is_refused(&filling, shot->value[0]) && shot->mode == FORCED) react();
    release(&filling);
    return DONE;
}

static enum outcome refused_allocation(const struct shot *shot) { return fill_then(shot, use_null); }

static enum outcome refused_abort(const struct shot *shot) { return fill_then(shot, give_up); }

static enum outcome refused_exit(const struct shot *shot) { return fill_then(shot, say_so); }

/* The address space is given, the page is not: the pool of huge pages is empty. */
static enum outcome empty_hugetlb(const struct shot *shot) {
    (void)shot;
    void *page = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    if (page == MAP_FAILED) return DID_NOT_FIRE;
    *launder(page) = 1;
    munmap(page, HUGE_BYTES);
    return DID_NOT_FIRE;
}

static enum outcome memory_fill(const struct shot *shot) {
    for (int64_t filled = 0; filled < shot->value[0]; filled += BIG_CHUNK_BYTES) {
        void *chunk = allocate(BIG_CHUNK_BYTES);
        if (!chunk) return DID_NOT_FIRE;
        memset((void *)launder(chunk), 1, BIG_CHUNK_BYTES);
    }
    return DONE;
}

#define BYTES {{"bytes", "bytes", 256 << 20, 1 << 20, (int64_t)64 << 30}}
#define REFUSED .family = "memory", .kind = "deterministic", .tiers = "forced dosed", .needs = "memory_limit", \
                .parameters = BYTES

FAMILY(memory_faults,
    {REFUSED, .name = "refused_allocation", .fire = refused_allocation,
     .mechanism = "Fills `bytes` of memory; where malloc() is refused below the limit, it uses the NULL.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {REFUSED, .name = "refused_abort", .fire = refused_abort,
     .mechanism = "Fills `bytes` of memory; where malloc() is refused below the limit, it calls abort().",
     .expects = "SIGABRT SI_TKILL self"},
    {REFUSED, .name = "refused_exit", .fire = refused_exit,
     .mechanism = "Fills `bytes` of memory; where malloc() is refused below the limit, it says so and exits 12.",
     .expects = "exited 12"},
    {.name = "empty_hugetlb", .family = "memory", .kind = "deterministic", .tiers = "forced",
     .needs = "empty_hugetlb",
     .mechanism = "Touches a huge page that the system promised and does not have.",
     .expects = "SIGBUS BUS_ADRERR wild", .fire = empty_hugetlb},
    {.name = "memory_fill", .family = "memory", .kind = "deterministic", .tiers = "forced",
     .needs = "memory_cgroup", .parameters = BYTES,
     .mechanism = "Fills `bytes` of memory; where the memory cgroup allows less, the kernel kills the process.",
     .expects = "SIGKILL by the OOM killer", .fire = memory_fill});
