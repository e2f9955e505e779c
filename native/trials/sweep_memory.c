/* Memory: every name by which a program asks for it. operator new and strdup ask through malloc. */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "trials/sweep.h"

/* What goes back to the program was asked of the next library in line, so that a malloc and a free of the same
 * allocator stay together. */
static __thread int searching;

void *behind(const char *name, void **found) {
    void *function = __atomic_load_n(found, __ATOMIC_RELAXED);
    if (function || searching) return function;
    searching = 1;
    function = dlsym(RTLD_NEXT, name);
    searching = 0;
    __atomic_store_n(found, function, __ATOMIC_RELAXED);
    return function;
}

static void *none(void) {
    errno = ENOMEM;
    return NULL;
}

/* --- the live blocks, while they are tracked --- */

static int tracks;
static int64_t live;

static void *given(void *memory) {
    if (tracks && memory) __atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
    return memory;
}

static void taken(const void *memory) {
    if (tracks && memory) __atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
}

/* Begins to track live blocks at 0, or goes on. Returns the count so far. */
INTERPOSED long sweep_live(void) {
    tracks = 1;
    return (long)live;
}

/* --- the names --- */

INTERPOSED void *malloc(size_t bytes) {
    void *(*next)(size_t) = BEHIND(malloc);
    return !next || refuse(ASKS_MALLOC, bytes) ? none() : given(next(bytes));
}

INTERPOSED void *calloc(size_t count, size_t bytes) {
    void *(*next)(size_t, size_t) = BEHIND(calloc);
    return !next || refuse(ASKS_CALLOC, count * bytes) ? none() : given(next(count, bytes));
}

static void *resize(void *memory, size_t bytes) {
    void *(*next)(void *, size_t) = BEHIND(realloc);
    void *moved = next(memory, bytes);
    if (!memory) given(moved);
    if (memory && !bytes) taken(memory);
    return moved;
}

/* Size 0 frees. */
INTERPOSED void *realloc(void *memory, size_t bytes) {
    if (!BEHIND(realloc)) return none();
    if (bytes && is_in_window()) {
        size_t (*usable)(void *) = BEHIND(malloc_usable_size);
        enum family family = memory && usable && usable(memory) >= bytes ? ASKS_SHRINK : ASKS_REALLOC;
        if (refuse(family, bytes)) return none();
    }
    return resize(memory, bytes);
}

INTERPOSED void *reallocarray(void *memory, size_t count, size_t bytes) {
    size_t total;
    return __builtin_mul_overflow(count, bytes, &total) ? none() : realloc(memory, total);
}

INTERPOSED void free(void *memory) {
    void (*next)(void *) = BEHIND(free);
    taken(memory);
    if (next) next(memory);
}

INTERPOSED void *memalign(size_t alignment, size_t bytes) {
    void *(*next)(size_t, size_t) = BEHIND(memalign);
    return !next || refuse(ASKS_ALIGNED, bytes) ? none() : given(next(alignment, bytes));
}

INTERPOSED void *aligned_alloc(size_t alignment, size_t bytes) {
    void *(*next)(size_t, size_t) = BEHIND(aligned_alloc);
    return !next || refuse(ASKS_ALIGNED, bytes) ? none() : given(next(alignment, bytes));
}

INTERPOSED void *valloc(size_t bytes) {
    void *(*next)(size_t) = BEHIND(valloc);
    return !next || refuse(ASKS_ALIGNED, bytes) ? none() : given(next(bytes));
}

INTERPOSED void *pvalloc(size_t bytes) {
    void *(*next)(size_t) = BEHIND(pvalloc);
    return !next || refuse(ASKS_ALIGNED, bytes) ? none() : given(next(bytes));
}

/* Returns the error as its value, and leaves errno alone. */
INTERPOSED int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    int (*next)(void **, size_t, size_t) = BEHIND(posix_memalign);
    if (!next || refuse(ASKS_ALIGNED, bytes)) return ENOMEM;
    int error = next(memory, alignment, bytes);
    if (!error) given(*memory);
    return error;
}
