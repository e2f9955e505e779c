/* What the system, or what stands in for it, refuses: address space, threads, the n-th allocation. Each of these
 * bounds itself right before, and touches next to nothing of what it is given. */
#include "faults/family.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 20, BLOCKS = 64, ROOM_BYTES = 16 << 20, NO_ROOM_BYTES = 64 << 10, NODES = 64 };

/* Lets the process map no more than `bytes` above what is mapped now. Returns 0 or -1. */
static int bound_address_space(rlim_t bytes) {
    unsigned long pages = 0;
    FILE *sizes = fopen("/proc/self/statm", "re");
    if (!sizes || fscanf(sizes, "%lu", &pages) != 1) return -1;
    fclose(sizes);
    rlim_t limit = pages * (rlim_t)sysconf(_SC_PAGESIZE) + bytes;
    return setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = limit, .rlim_max = limit});
}

/* What malloc() gives when there is no room for another block. Blocks are never touched: they cost no memory. */
static char *allocate_without_room(void) {
    if (bound_address_space(ROOM_BYTES) != 0) exit(1);
    for (int block = 0; block < BLOCKS; block++) {
        char *given = (char *)launder(malloc(BLOCK_BYTES));
        if (given) continue;
        allocation_refused();
        return NULL;
    }
    return (char *)launder(malloc(1));
}

static enum outcome refuse_and_use(size_t offset) {
    volatile char *block = launder(allocate_without_room());
    if (!block) block[offset] = 1;
    return DID_NOT_FIRE;
}

static enum outcome refused_address_space(const struct shot *shot) {
    (void)shot;
    return refuse_and_use(0x80);
}

/* So far into the array that its address is near nothing. */
static enum outcome refused_array(const struct shot *shot) {
    (void)shot;
    return refuse_and_use(0x20000000);
}

struct worker {
    pthread_t thread;
    volatile char mailbox[64];
};

static void *do_nothing(void *unused) { return unused; }

/* Starts a worker. Returns NULL when there is no thread for it. */
static struct worker *start_worker(struct worker *worker) {
    return start_thread(&worker->thread, do_nothing, NULL) == 0 ? worker : NULL;
}

/* A pool of threads hands out work without a look at which of them there are. */
static enum outcome refused_thread(const struct shot *shot) {
    struct worker room;
    (void)shot;
    if (bound_address_space(NO_ROOM_BYTES) != 0) return DID_NOT_FIRE;
    struct worker *worker = (struct worker *)launder(start_worker(&room));
    worker->mailbox[0] = 1;
    return DID_NOT_FIRE;
}

struct node {
    struct node *next;
    char body[120];
};

/* An allocator with an order to refuse: the n-th call, counted from 1, and perhaps each one after it. */
struct allocator {
    int64_t calls, nth; /* nth 0: never */
    int from_then_on;
};

static struct node *allocate(struct allocator *allocator, size_t bytes) {
    int64_t call = ++allocator->calls, nth = allocator->nth;
    if (!nth || call < nth || (call > nth && !allocator->from_then_on)) return malloc(bytes);
    allocation_refused();
    return NULL;
}

static struct node *allocate_careless(struct allocator *allocator) { return allocate(allocator, sizeof(struct node)); }

/* It knows what to do without: it tries once more, with less, and that must work. */
static struct node *allocate_careful(struct allocator *allocator) {
    struct node *node = allocate(allocator, sizeof(struct node));
    return node ? node : allocate(allocator, sizeof(struct node *));
}

static enum outcome make_list(const struct shot *shot, int from_then_on, struct node *make(struct allocator *)) {
    struct allocator allocator = {0, shot->mode == FORCED ? shot->value[0] : 0, from_then_on};
    struct node *list = NULL;
    for (int count = 0; count < NODES; count++) {
        struct node *node = make(&allocator);
        *(struct node *volatile *)launder(&node->next) = list;
        list = node;
    }
    for (struct node *next; list; list = next) {
        next = list->next;
        free(list);
    }
    return shot->mode == FORCED ? DID_NOT_FIRE : DONE;
}

static enum outcome nth_allocation(const struct shot *shot) { return make_list(shot, 0, allocate_careless); }

static enum outcome allocations_from_nth(const struct shot *shot) { return make_list(shot, 1, allocate_careful); }

#define REFUSAL .family = "refusal", .kind = "deterministic", .needs = ""
#define NTH .tiers = "forced dosed", .expects = "SIGSEGV SEGV_MAPERR null", \
            .parameters = {{"n", "allocations", 7, 1, NODES}}

FAMILY(refusal_faults,
    {REFUSAL, .name = "refused_address_space", .tiers = "forced", .fire = refused_address_space,
     .mechanism = "Runs out of address space by a limit of its own; malloc() is refused, and it uses the NULL.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {REFUSAL, .name = "refused_array", .tiers = "forced", .fire = refused_array,
     .mechanism = "The same with an array, far into which it writes: the address does not look like NULL.",
     .expects = "SIGSEGV SEGV_MAPERR wild"},
    {REFUSAL, .name = "refused_thread", .tiers = "forced", .fire = refused_thread,
     .mechanism = "Has no room for a thread's stack; pthread_create() is refused, and it uses the NULL.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {REFUSAL, NTH, .name = "nth_allocation", .fire = nth_allocation,
     .mechanism = "Is refused its `n`th allocation, and uses the NULL."},
    {REFUSAL, NTH, .name = "allocations_from_nth", .fire = allocations_from_nth,
     .mechanism = "Is refused its `n`th allocation and all after it; it copes with one, not with the next."});
