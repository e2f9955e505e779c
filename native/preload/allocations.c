/* Counts the allocations that the system refuses. Only in the library for victims under a memory limit: elsewhere the
 * program's calls of malloc are left alone. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
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

static void *next_of(enum allocator name) { return find_next(&found[name], names[name]); }

/* Counts a refusal. No machine has more than half the address space: who asks for that makes a mistake, which is no
 * shortage. */
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
    return next ? checked(next(bytes), bytes) : none();
}

/* This library's own malloc, by a name that a program's malloc can't take the place of. */
extern __typeof(malloc) our_malloc __attribute__((alias("malloc"), visibility("hidden")));

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

/* Whether a symbol's address is a stub, through which a program at a fixed address calls what it does not define. */
static int is_stub(const void *address) {
    Dl_info unused;
    const ElfW(Sym) *symbol = NULL;
    return dladdr1(address, &unused, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol && symbol->st_shndx == SHN_UNDEF;
}

/* Whether refusals can be counted: not where the program brings its own malloc. That malloc is not called to find out,
 * since it may end the program. */
int counts_allocations(void) {
    for (int name = 0; name < ALLOCATORS; name++) next_of((enum allocator)name);
    const void *first = dlsym(RTLD_DEFAULT, "malloc");
    return first == (const void *)our_malloc || is_stub(first);
}
