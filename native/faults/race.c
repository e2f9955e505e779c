/* Real races between two real threads. One opens a window in which shared state is wrong, the other strikes.
 *
 * FORCED holds the window open until the other has struck: p = 1. SAFE lets the other strike only after the window
 * was closed: p = 0. WILD holds nothing: the striker comes at some moment of `period`, and the window is `window`
 * wide, so p is near window / period where the threads really run side by side.
 *
 * The racing accesses are plain. The handshake is relaxed, so that it orders nothing in the eyes of a race
 * detector; a full barrier keeps weakly ordered processors from hiding what happened. */
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "faults/family.h"

enum { OPENED = 1, CLOSED = 2, PATIENT_SPINS = 10000 };

struct duel {
    enum mode mode;
    int64_t window, period;
    void (*opener)(struct duel *duel);
    void (*striker)(struct duel *duel);
    int here, window_step, struck; /* handshake: relaxed atomics */

    /* the contested state; each race uses what it needs */
    char *volatile buffer;
    volatile size_t length;
    volatile int count, is_open;
    struct node *volatile shared;
};

struct node {
    char header[16];
    volatile int *volatile field;
};

/* --- the machinery --- */

static void set(int *word, int value) {
    __sync_synchronize();
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static void await(int *word, int value) {
    while (__atomic_load_n(word, __ATOMIC_RELAXED) < value) sched_yield();
    __sync_synchronize();
}

static void spin(int64_t turns) {
    for (volatile int64_t turn = 0; turn < turns; turn++) continue;
}

/* Both threads run from here; on one processor they take turns. */
static void meet(struct duel *duel) {
    __atomic_add_fetch(&duel->here, 1, __ATOMIC_RELAXED);
    for (int turn = 0; __atomic_load_n(&duel->here, __ATOMIC_RELAXED) < 2; turn++)
        if (turn > PATIENT_SPINS) sched_yield();
}

/* The opener's call, between its two halves. */
static void hold_open(struct duel *duel) {
    set(&duel->window_step, OPENED);
    if (duel->mode == FORCED) await(&duel->struck, 1);
    if (duel->mode == WILD) spin(duel->window);
}

/* The striker's call, before it strikes. */
static void find_moment(struct duel *duel) {
    struct timespec now;
    if (duel->mode != WILD) {
        await(&duel->window_step, duel->mode == FORCED ? OPENED : CLOSED);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    spin(now.tv_nsec % duel->period);
}

/* Side by side where there are two processors: else a wild race seldom overlaps. */
static void run_on(int which) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
    CPU_ZERO(&one);
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET(processor, &allowed) || which-- != 0) continue;
        CPU_SET(processor, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void *open_side(void *argument) {
    struct duel *duel = argument;
    if (duel->mode == WILD) run_on(0);
    meet(duel);
    duel->opener(duel);
    set(&duel->window_step, CLOSED);
    return NULL;
}

static void *strike_side(void *argument) {
    struct duel *duel = argument;
    if (duel->mode == WILD) run_on(1);
    meet(duel);
    find_moment(duel);
    duel->striker(duel);
    set(&duel->struck, 1);
    return NULL;
}

static struct duel duel_of(const struct shot *shot, void (*opener)(struct duel *), void (*striker)(struct duel *)) {
    return (struct duel){.mode = shot->mode, .window = shot->value[0], .period = shot->value[1],
                         .opener = opener, .striker = striker};
}

/* -1 when a thread could not be started. */
static int fight(struct duel *duel) {
    pthread_t opener, striker;
    if (start_thread(&opener, open_side, duel) != 0) return -1;
    int alone = start_thread(&striker, strike_side, duel) != 0;
    if (alone) { /* the opener goes through its window undisturbed */
        set(&duel->here, 2);
        set(&duel->struck, 1);
    }
    pthread_join(opener, NULL);
    if (!alone) pthread_join(striker, NULL);
    return alone ? -1 : 0;
}

static enum outcome survived(const struct duel *duel) { return duel->mode == FORCED ? DID_NOT_FIRE : DONE; }

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static char *map_pages(int pages, int protection) {
    void *memory = mmap(NULL, (size_t)pages * page_size(), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* --- torn publish: the new length is stored before the new buffer --- */

static char *long_buffer;

static void publish_pair(struct duel *duel) {
    duel->length = 2 * page_size();
    hold_open(duel);
    duel->buffer = long_buffer;
}

static void read_last_byte(struct duel *duel) {
    size_t length = duel->length;
    (void)launder(duel->buffer)[length - 1];
}

static enum outcome torn_publish(const struct shot *shot) {
    struct duel duel = duel_of(shot, publish_pair, read_last_byte);
    duel.buffer = map_pages(2, PROT_READ);
    long_buffer = map_pages(2, PROT_READ);
    if (!duel.buffer || !long_buffer || mprotect(duel.buffer + page_size(), page_size(), PROT_NONE) != 0) return DID_NOT_FIRE;
    duel.length = page_size();
    return fight(&duel) == 0 ? survived(&duel) : DID_NOT_FIRE;
}

/* --- use after close: the check and the use are two steps --- */

static void use_if_open(struct duel *duel) {
    if (!duel->is_open) return;
    hold_open(duel);
    launder(duel->buffer)[0] = 1;
}

static void close_resource(struct duel *duel) {
    duel->is_open = 0;
    munmap(duel->buffer, page_size());
}

static enum outcome use_after_close(const struct shot *shot) {
    struct duel duel = duel_of(shot, use_if_open, close_resource);
    duel.buffer = map_pages(1, PROT_READ | PROT_WRITE);
    duel.is_open = 1;
    if (!duel.buffer) return DID_NOT_FIRE;
    return fight(&duel) == 0 ? survived(&duel) : DID_NOT_FIRE;
}

/* --- reference count: load, add and store are three steps, and an update is lost --- */

static void take_reference_slowly(struct duel *duel) {
    int count = duel->count;
    hold_open(duel);
    duel->count = count + 1;
}

static void take_reference(struct duel *duel) { duel->count = duel->count + 1; }

static void drop_reference(struct duel *duel) {
    if (--duel->count == 0) munmap(duel->buffer, page_size());
}

/* The first holder still has its reference when the two others have dropped theirs. */
static enum outcome refcount(const struct shot *shot) {
    struct duel duel = duel_of(shot, take_reference_slowly, take_reference);
    duel.buffer = map_pages(1, PROT_READ | PROT_WRITE);
    duel.count = 1;
    if (!duel.buffer || fight(&duel) != 0) return DID_NOT_FIRE;
    drop_reference(&duel);
    drop_reference(&duel);
    launder(duel.buffer)[0] = 1;
    return survived(&duel);
}

/* --- publish before init: the pointer is shared before the object is whole --- */

static struct node half_made;

static void publish_node(struct duel *duel) {
    static volatile int value;
    duel->shared = &half_made;
    hold_open(duel);
    half_made.field = &value;
}

static void follow_node(struct duel *duel) {
    struct node *node = duel->shared;
    if (node) (void)*(volatile int *)launder(node->field);
}

static enum outcome publish_before_init(const struct shot *shot) {
    struct duel duel = duel_of(shot, publish_node, follow_node);
    return fight(&duel) == 0 ? survived(&duel) : DID_NOT_FIRE;
}

/* --- JIT patch: a page is not executable while it is rewritten. The version of the code is data, as a JIT has it: a
 * race detector sees loads and stores, and not that an instruction was fetched. --- */

#if defined(__x86_64__)
static const unsigned char return_seven[] = {0xb8, 7, 0, 0, 0, 0xc3};
#elif defined(__aarch64__)
static const unsigned char return_seven[] = {0xe0, 0, 0x80, 0x52, 0xc0, 3, 0x5f, 0xd6};
#else
static const unsigned char return_seven[] = {0};
#endif

static void emit_code(char *page) {
    memcpy(page, return_seven, sizeof return_seven);
    __builtin___clear_cache(page, page + sizeof return_seven);
}

static void patch_code(struct duel *duel) {
    duel->count++;
    mprotect(duel->buffer, page_size(), PROT_READ | PROT_WRITE);
    hold_open(duel);
    emit_code(duel->buffer);
    mprotect(duel->buffer, page_size(), PROT_READ | PROT_EXEC);
}

static void run_code(struct duel *duel) {
    int (*code)(void) = (int (*)(void))(uintptr_t)launder(duel->buffer);
    if (duel->count >= 0) (void)code();
}

static enum outcome jit_patch(const struct shot *shot) {
    struct duel duel = duel_of(shot, patch_code, run_code);
    duel.buffer = map_pages(1, PROT_READ | PROT_WRITE);
    if (!duel.buffer) return DID_NOT_FIRE;
    emit_code(duel.buffer);
    if (mprotect(duel.buffer, page_size(), PROT_READ | PROT_EXEC) != 0) return DID_NOT_FIRE;
    return fight(&duel) == 0 ? survived(&duel) : DID_NOT_FIRE;
}

/* --- check then act: both halves hold the lock, and between them nobody does --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_open(struct duel *duel) {
    pthread_mutex_lock(&lock);
    int open = duel->is_open;
    pthread_mutex_unlock(&lock);
    return open;
}

static void act_if_open(struct duel *duel) {
    if (!is_open(duel)) return;
    hold_open(duel);
    pthread_mutex_lock(&lock);
    launder(duel->buffer)[0] = 1;
    pthread_mutex_unlock(&lock);
}

static void close_locked(struct duel *duel) {
    pthread_mutex_lock(&lock);
    close_resource(duel);
    pthread_mutex_unlock(&lock);
}

static enum outcome check_then_act(const struct shot *shot) {
    struct duel duel = duel_of(shot, act_if_open, close_locked);
    duel.buffer = map_pages(1, PROT_READ | PROT_WRITE);
    duel.is_open = 1;
    if (!duel.buffer) return DID_NOT_FIRE;
    return fight(&duel) == 0 ? survived(&duel) : DID_NOT_FIRE;
}

#define DIALS {{"window", "spins", 20000, 0, 100000000}, {"period", "spins", 40000, 1, 100000000}}
#define NARROW {{"window", "spins", 0, 0, 100000000}, {"period", "spins", 400000, 1, 100000000}}
#define RACY .family = "race", .kind = "racy", .tiers = "forced dosed wild", .needs = ""
#define RACE RACY, .parameters = DIALS

FAMILY(race_faults,
    {RACE, .name = "torn_publish", .fire = torn_publish,
     .mechanism = "A reader pairs an old buffer with its new length and reads past the end.",
     .expects = "SIGSEGV SEGV_ACCERR wild"},
    {RACE, .name = "use_after_close", .fire = use_after_close,
     .mechanism = "A resource is closed by one thread between another's check and its use.",
     .expects = "SIGSEGV SEGV_MAPERR wild"},
    {RACE, .name = "refcount", .fire = refcount,
     .mechanism = "A reference count that is not atomic loses an update, and a held object is freed.",
     .expects = "SIGSEGV SEGV_MAPERR wild"},
    {RACE, .name = "publish_before_init", .fire = publish_before_init,
     .mechanism = "An object is shared before its field is set, and a reader follows the NULL.",
     .expects = "SIGSEGV SEGV_MAPERR null"},
    {RACE, .name = "jit_patch", .fire = jit_patch,
     .mechanism = "A JIT makes a code page writable to patch it while another thread runs it.",
     .expects = "SIGSEGV SEGV_ACCERR code"},
    {RACY, .parameters = NARROW, .name = "check_then_act", .fire = check_then_act,
     .mechanism = "A resource is checked under a lock and used under it again, and closed in between.",
     .expects = "SIGSEGV SEGV_MAPERR wild"});
