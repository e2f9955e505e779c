/* Counts the allocations that the system refuses. Only in the library for victims under a memory limit: elsewhere the
 * program's calls of malloc are left alone. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "box/victim.h"
#include "preload/counting.h"
#include "preload/real.h"

enum allocator { MALLOC, CALLOC, REALLOC, POSIX_MEMALIGN, ALIGNED_ALLOC, MEMALIGN, VALLOC, PVALLOC, ALLOCATORS };

static const char *const names[ALLOCATORS] = {"malloc",        "calloc",   "realloc", "posix_memalign",
                                              "aligned_alloc", "memalign", "valloc",  "pvalloc"};
static void *found[ALLOCATORS];
static __thread int is_reached __attribute__((tls_model("initial-exec")));

static void *next_of(enum allocator name) { return find_next(&found[name], names[name]); }

/* More than half the address space is no machine's to give: asking for it is a mistake, not a shortage. */
static void note_refusal(size_t bytes) {
    struct box *box = armed_box();
    if (bytes && bytes <= PTRDIFF_MAX && box && is_victim())
        __atomic_add_fetch(&box->allocation_failures, 1, __ATOMIC_RELAXED);
}

static void *checked(void *memory, size_t bytes) {
    if (!memory) note_refusal(bytes);
    return memory;
}

static void *none(void) {
    errno = ENOMEM;
    return NULL;
}

INTERPOSED void *malloc(size_t bytes) {
    void *(*next)(size_t) = next_of(MALLOC);
    is_reached = 1;
    return next ? checked(next(bytes), bytes) : none();
}

INTERPOSED void *calloc(size_t count, size_t bytes) {
    void *(*next)(size_t, size_t) = next_of(CALLOC);
    size_t total = 0;
    if (__builtin_mul_overflow(count, bytes, &total)) total = SIZE_MAX;
    return next ? checked(next(count, bytes), total) : none();
}

INTERPOSED void *realloc(void *memory, size_t bytes) {
    void *(*next)(void *, size_t) = next_of(REALLOC);
    return next ? checked(next(memory, bytes), bytes) : none();
}

INTERPOSED int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    int (*next)(void **, size_t, size_t) = next_of(POSIX_MEMALIGN);
    int error = next ? next(memory, alignment, bytes) : ENOMEM;
    if (error == ENOMEM) note_refusal(bytes);
    return error;
}

/* The aligned forms refuse a wrong alignment too, and say so. */
static void *aligned(void *memory, size_t bytes) {
    if (!memory && errno == ENOMEM) note_refusal(bytes);
    return memory;
}

INTERPOSED void *aligned_alloc(size_t alignment, size_t bytes) {
    void *(*next)(size_t, size_t) = next_of(ALIGNED_ALLOC);
    return next ? aligned(next(alignment, bytes), bytes) : none();
}

INTERPOSED void *memalign(size_t alignment, size_t bytes) {
    void *(*next)(size_t, size_t) = next_of(MEMALIGN);
    return next ? aligned(next(alignment, bytes), bytes) : none();
}

INTERPOSED void *valloc(size_t bytes) {
    void *(*next)(size_t) = next_of(VALLOC);
    return next ? aligned(next(bytes), bytes) : none();
}

INTERPOSED void *pvalloc(size_t bytes) {
    void *(*next)(size_t) = next_of(PVALLOC);
    return next ? aligned(next(bytes), bytes) : none();
}

/* Not where the program brings its own malloc. That is called, since its address may be a stub of the program's, for more
 * than there can be: its heap stays as it was. */
int counts_allocations(void) {
    volatile size_t too_much = SIZE_MAX;
    for (int name = 0; name < ALLOCATORS; name++) next_of((enum allocator)name);
    is_reached = 0;
    free(malloc(too_much));
    return is_reached;
}
