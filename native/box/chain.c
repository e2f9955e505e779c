#include "box/chain.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <unistd.h>

#include "box/machine.h"

enum { PATIENCE = 64, ADLER = 65521, NO_WORD = -1, SET_BYTES = 8, PAGE_MASK = 4095 };

static char program_name[MODULE_BYTES]; /* the loader has none for it */
static size_t program_length;

/* The last part of a path, as much of it as there is room for. Returns its length. */
static size_t copy_name(char name[MODULE_BYTES], const char *path, size_t length) {
    size_t start = length, used = 0;
    while (start > 0 && path[start - 1] != '/') start--;
    while (used < MODULE_BYTES - 1 && start < length) name[used++] = path[start++];
    name[used] = '\0';
    return used;
}

void chain_name_program(void) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path);
    if (length > 0) program_length = copy_name(program_name, path, (size_t)length);
}

/* The loader's index of what is mapped where needs neither lock nor system call. glibc has it since 2.35, and elsewhere
 * the module is not known. */
#if defined(DLFO_STRUCT_HAS_EH_DBASE)
extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

/* What crashed may have written over the loader's memory, and a fault in here would be another death than the program's.
 * The kernel reads the eight bytes of a signal set before it refuses to do with it what is none of its words. */
static int is_readable(const void *memory, struct writer writer) {
    long set = (long)((uintptr_t)memory & ~(uintptr_t)(SET_BYTES - 1));
    return !writer.may_call || raw_call(SYS_rt_sigprocmask, NO_WORD, set, 0, SET_BYTES) == -EINVAL;
}

/* Of a text that may end in a page that is not there. */
static size_t length_of(const char *text, struct writer writer) {
    size_t length = 0;
    for (; length < PATH_MAX; length++) {
        int is_first = !length || !((uintptr_t)(text + length) & PAGE_MASK);
        if ((is_first && !is_readable(text + length, writer)) || !text[length]) break;
    }
    return length;
}

static void find_module(struct crash *crash, struct writer writer) {
    struct dl_find_object found;
    if (!_dl_find_object || _dl_find_object((void *)(uintptr_t)crash->program_counter, &found) != 0) return;
    crash->offset = crash->program_counter - (uintptr_t)found.dlfo_map_start;
    if (!is_readable(&found.dlfo_link_map->l_name, writer)) return;
    const char *path = found.dlfo_link_map->l_name;
    size_t length = length_of(path, writer);
    copy_name(crash->module, length ? path : program_name, length ? length : program_length);
}
#else
static void find_module(struct crash *crash, struct writer writer) { (void)crash, (void)writer; }
#endif

static int is_on_alternate(const ucontext_t *context) {
    uint64_t start = (uintptr_t)context->uc_stack.ss_sp, pointer = (uint64_t)STACK_POINTER(context);
    return !(context->uc_stack.ss_flags & SS_DISABLE) && pointer >= start && pointer - start < context->uc_stack.ss_size;
}

uint32_t chain_checksum(const struct crash *crash) {
    const unsigned char *byte = (const unsigned char *)crash;
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < sizeof *crash; i++) high += low += byte[i];
    return high % ADLER << 16 | low % ADLER;
}

static uint32_t fate_of(const struct link *link) { return __atomic_load_n(&link->fate, __ATOMIC_ACQUIRE); }

static int turn(struct link *link, uint32_t from, uint32_t to) {
    return __atomic_compare_exchange_n(&link->fate, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* A handler that is still at work lies below what it was called for, so what comes later on that stack lies below too.
 * Of a handler on another stack than its fault nothing can be said. */
static void note_left(struct box *box, const struct crash *later) {
    for (struct link *link = box->chain; link < box->chain + CHAIN_LINKS; link++) {
        const struct crash *crash = &link->crash;
        if (fate_of(link) != OPEN || !later->thread || crash->thread != later->thread) continue;
        if (crash->on_alternate == later->on_alternate && crash->stack_pointer <= later->stack_pointer)
            turn(link, OPEN, LEFT);
    }
}

/* The link that makes room next: an unused one, the oldest that is over, or the newest of all. */
static struct link *next_link(struct box *box) {
    struct link *over = NULL, *newest = NULL;
    for (struct link *link = box->chain; link < box->chain + CHAIN_LINKS; link++) {
        uint32_t fate = fate_of(link), order = link->crash.order;
        if (fate == UNUSED) return link;
        if ((fate == RETURNED || fate == LEFT) && (!over || order < over->crash.order)) over = link;
        if (fate == OPEN && (!newest || order > newest->crash.order)) newest = link;
    }
    return over ? over : newest;
}

/* Another thread may be faster; it can't be for ever. */
static struct link *claim(struct box *box) {
    for (int tries = 0; tries < PATIENCE; tries++) {
        struct link *link = next_link(box);
        uint32_t fate = link ? fate_of(link) : WRITING;
        if (fate != WRITING && turn(link, fate, WRITING)) return link;
    }
    return NULL;
}

struct mark chain_record(struct box *box, const siginfo_t *info, const ucontext_t *context, struct writer writer) {
    struct crash crash = {
        .signal = info->si_signo,
        .code = info->si_code,
        .program_counter = (uint64_t)PROGRAM_COUNTER(context),
        .stack_pointer = (uint64_t)STACK_POINTER(context),
        .thread = writer.thread,
        .order = __atomic_add_fetch(&box->records, 1, __ATOMIC_RELAXED),
        .on_alternate = (uint32_t)is_on_alternate(context),
    };
    if (info->si_code <= 0)
        crash.sender = (int32_t)info->si_pid; /* si_addr shares its place with si_pid */
    else
        crash.address = (uint64_t)(uintptr_t)info->si_addr;
    find_module(&crash, writer);
    note_left(box, &crash);
    struct link *link = claim(box);
    if (!link) return (struct mark){NULL, 0};
    link->crash = crash;
    link->checksum = chain_checksum(&crash);
    __atomic_store_n(&link->fate, OPEN, __ATOMIC_RELEASE);
    return (struct mark){link, crash.order};
}

void chain_returned(struct mark mark) {
    if (mark.link && mark.link->crash.order == mark.order) turn(mark.link, OPEN, RETURNED);
}
