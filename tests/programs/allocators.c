/* allocators WHAT [MIB]: asks for memory in one of the ways there are, and writes to what it gets. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "named.h"

enum { ALIGNMENT = 64, MIB = 1 << 20 };

static void use(char *memory) {
    *(volatile char *)memory = 1;
    puts("given");
}

static void by_malloc(long mib) { use(malloc((size_t)mib * MIB)); }

static void by_calloc(long mib) { use(calloc((size_t)mib, MIB)); }

static void by_realloc(long mib) { use(realloc(malloc(10), (size_t)mib * MIB)); }

static void by_reallocarray(long mib) { use(reallocarray(NULL, (size_t)mib, MIB)); }

static void by_posix_memalign(long mib) {
    void *memory;
    use(posix_memalign(&memory, ALIGNMENT, (size_t)mib * MIB) == 0 ? memory : NULL);
}

static void by_aligned_alloc(long mib) { use(aligned_alloc(ALIGNMENT, (size_t)mib * MIB)); }

static void by_memalign(long mib) { use(memalign(ALIGNMENT, (size_t)mib * MIB)); }

static void by_valloc(long mib) { use(valloc((size_t)mib * MIB)); }

static void by_pvalloc(long mib) { use(pvalloc((size_t)mib * MIB)); }

/* Past the allocator. */
static void by_mmap(long mib) {
    void *memory = mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    use(memory == MAP_FAILED ? NULL : memory);
}

static const struct part all[] = {
    {"malloc", by_malloc}, {"calloc", by_calloc}, {"realloc", by_realloc}, {"reallocarray", by_reallocarray},
    {"posix_memalign", by_posix_memalign}, {"aligned_alloc", by_aligned_alloc}, {"memalign", by_memalign},
    {"valloc", by_valloc}, {"pvalloc", by_pvalloc}, {"mmap", by_mmap},
};

int main(int argc, char **argv) { return run_part(all, sizeof all / sizeof *all, argc, argv); }
