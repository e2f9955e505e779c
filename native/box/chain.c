#include "box/chain.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <sys/auxv.h>

#include "box/machine.h"

enum { PATIENCE = 64, ADLER = 65521, NO_WORD = -1, SET_BYTES = 8, PAGE_MASK = 4095 };

/* Copies the last part of a path, as much of it as there is room for. */
static void copy_name(char name[MODULE_BYTES], const char *path, size_t length) {
    size_t start = length, used = 0;
    while (start > 0 && path[start - 1] != '/') start--;
    while (used < MODULE_BYTES - 1 && start < length) name[used++] = path[start++];
    name[used] = '\0';
}

/* What crashed may have written over anything, and a fault in here would be another death than the program's. So the kernel
 * is asked to read the memory: sigprocmask() reads the eight bytes of its set before it refuses a `how` that it doesn't
 * know. */
static int is_readable(const void *memory, struct writer writer) {
    long set = (long)((uintptr_t)memory & ~(uintptr_t)(SET_BYTES - 1));
    return !writer.may_call || CALL(SYS_rt_sigprocmask, NO_WORD, set, 0, SET_BYTES) == -EINVAL;
}

#if defined(DLFO_STRUCT_HAS_EH_DBASE)
/* The length of a text, whose end may lie in a page that is not mapped. */
static size_t length_of(const char *text, struct writer writer) {
    size_t length = 0;
    for (; length < PATH_MAX; length++) {
        int is_first = !length || !((uintptr_t)(text + length) & PAGE_MASK);
        if ((is_first && !is_readable(text + length, writer)) || !text[length]) break;
    }
    return length;
}

/* The main program's name, which the loader's list does not have. It is the path by which the program was executed, unless
 * chain_name_program() was called. */
static const char *program_name;

void chain_name_program(const char *name) { program_name = name; }

static const char *name_of_program(void) {
    return program_name ? program_name : (const char *)(uintptr_t)getauxval(AT_EXECFN);
}

/* The loader's index of what is mapped where needs neither lock nor system call. glibc has it since 2.35, and elsewhere
 * the module is not known. */
extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

static void find_module(struct crash *crash, struct writer writer) {
    struct dl_find_object found;
    if (!_dl_find_object || _dl_find_object((void *)(uintptr_t)crash->program_counter, &found) != 0) return;
    crash->offset = crash->program_counter - (uintptr_t)found.dlfo_map_start;
    if (!is_readable(&found.dlfo_link_map->l_name, writer)) return;
    const char *path = found.dlfo_link_map->l_name;
    if (is_readable(path, writer) && !*path) path = name_of_program();
    if (path) copy_name(crash->module, path, length_of(path, writer));
}
#else
static void find_module(struct crash *crash, struct writer writer) { (void)crash, (void)writer; }
#endif

static int is_on_alternate(const ucontext_t *context, uint64_t pointer) {
    uint64_t start = (uintptr_t)context->uc_stack.ss_sp;
    return !(context->uc_stack.ss_flags & SS_DISABLE) && pointer >= start && pointer - start < context->uc_stack.ss_size;
}

static uint32_t checksum_of(const struct crash *crash) {
    const unsigned char *byte = (const unsigned char *)crash;
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < sizeof *crash; i++) high += low += byte[i];
    return high % ADLER << 16 | low % ADLER;
}

static uint32_t fate_of(const struct link *link) { return __atomic_load_n(&link->fate, __ATOMIC_ACQUIRE); }

static int turn(struct link *link, uint32_t from, uint32_t to) {
    return __atomic_compare_exchange_n(&link->fate, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Whether the handler of `crash` was left. While a handler is at work, whatever comes later on its thread lies below it on
 * the same stack, and its frame still holds the mark. Where no frame is known, the place that crashed must lie above. */
static int is_left(const struct crash *crash, const struct crash *later, struct writer writer) {
    int is_there = !!(later->flags & ON_ALTERNATE);
    if (!crash->frame)
        return is_there == !!(crash->flags & ON_ALTERNATE) && crash->stack_pointer <= later->stack_pointer;
    if (is_there != !!(crash->flags & HANDLED_THERE) || crash->frame <= later->stack_pointer) return 1;
    const struct mark *frame = (const struct mark *)(uintptr_t)crash->frame;
    return !is_readable(frame, writer) || frame->order != crash->order;
}

/* Whether the instruction of `crash` is not done yet: a signal that was raised in a handler, where it was blocked, comes
 * when the handler has returned, and before the instruction runs again. */
static int is_unfinished(const struct crash *crash, const struct crash *later) {
    int is_there_still = crash->program_counter == later->program_counter && crash->stack_pointer == later->stack_pointer;
    return is_there_still && later->code <= 0 && !(later->flags & NO_CODE);
}

/* Settles what became of the earlier records of a thread, now that a later one is there. */
static void review(struct box *box, const struct crash *later, struct writer writer) {
    for (struct link *link = box->chain; link < box->chain + CHAIN_LINKS; link++) {
        uint32_t fate = fate_of(link);
        if (!later->thread || link->crash.thread != later->thread) continue;
        if (fate == OPEN && is_left(&link->crash, later, writer)) turn(link, OPEN, LEFT);
        if (fate == RETURNED && is_unfinished(&link->crash, later)) turn(link, RETURNED, OPEN);
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

/* Claims a link for writing. Another thread may be faster, but not for ever. */
static struct link *claim(struct box *box) {
    for (int tries = 0; tries < PATIENCE; tries++) {
        struct link *link = next_link(box);
        uint32_t fate = link ? fate_of(link) : WRITING;
        if (fate != WRITING && turn(link, fate, WRITING)) return link;
    }
    return NULL;
}

struct mark chain_add(struct box *box, struct crash crash, struct writer writer) {
    crash.order = __atomic_add_fetch(&box->records, 1, __ATOMIC_RELAXED);
    review(box, &crash, writer);
    struct link *link = claim(box);
    if (!link) return (struct mark){NULL, 0};
    link->crash = crash;
    link->checksum = checksum_of(&crash);
    __atomic_store_n(&link->fate, OPEN, __ATOMIC_RELEASE);
    return (struct mark){link, crash.order};
}

struct mark chain_record(struct box *box, const siginfo_t *info, const ucontext_t *context, struct writer writer,
                         const struct mark *frame) {
    uint64_t pointer = (uint64_t)STACK_POINTER(context);
    uint32_t here = is_on_alternate(context, pointer) ? ON_ALTERNATE : 0;
    uint32_t there = frame && is_on_alternate(context, (uintptr_t)frame) ? HANDLED_THERE : 0;
    struct crash crash = {
        .signal = info->si_signo,
        .code = info->si_code,
        .program_counter = (uint64_t)PROGRAM_COUNTER(context),
        .stack_pointer = pointer,
        .frame = (uintptr_t)frame,
        .thread = writer.thread,
        .flags = here | there,
    };
    if (info->si_code <= 0)
        crash.sender = (int32_t)info->si_pid; /* si_addr shares its place with si_pid */
    else
        crash.address = (uint64_t)(uintptr_t)info->si_addr;
    find_module(&crash, writer);
    return chain_add(box, crash, writer);
}

void chain_returned(struct mark mark) {
    if (mark.link && mark.link->crash.order == mark.order) turn(mark.link, OPEN, RETURNED);
}
