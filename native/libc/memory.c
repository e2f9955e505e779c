/* Memory, a mapping for each piece: there are few. And sorting. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEAD_BYTES = 16 }; /* before each piece: its size. What is behind is aligned for anything */

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, HEAD_BYTES, &bytes)) return NULL;
    size_t *piece = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece == MAP_FAILED) return NULL;
    *piece = bytes;
    return (char *)piece + HEAD_BYTES;
}

void free(void *memory) {
    if (!memory) return;
    size_t *piece = (void *)((char *)memory - HEAD_BYTES);
    munmap(piece, *piece);
}

static void swap(char *first, char *second, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char kept = first[i];
        first[i] = second[i];
        second[i] = kept;
    }
}

/* Sorts by Shell's method. */
void qsort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    char *first = items;
    for (size_t gap = count / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < count; i++)
            for (size_t at = i; at >= gap && compare(first + at * size, first + (at - gap) * size) < 0; at -= gap)
                swap(first + at * size, first + (at - gap) * size, size);
}
