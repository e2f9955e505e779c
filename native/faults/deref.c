/* Pointers that point nowhere. */
#include "faults/family.h"

#include <sys/mman.h>
#include <unistd.h>

static enum outcome null_read(const struct shot *shot) {
    volatile char *pointer = launder(NULL);
    (void)pointer[shot->value[0]];
    return DID_NOT_FIRE;
}

static enum outcome null_write(const struct shot *shot) {
    volatile char *pointer = launder(NULL);
    pointer[shot->value[0]] = 1;
    return DID_NOT_FIRE;
}

static enum outcome null_call(const struct shot *shot) {
    (void)shot;
    void (*volatile function)(void) = NULL;
    function();
    return DID_NOT_FIRE;
}

/* A memory module with a stuck bit: the pointer was right when it was stored. */
static enum outcome bit_flip(const struct shot *shot) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *stored = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stored == MAP_FAILED) return DID_NOT_FIRE;
    uintptr_t flip = shot->mode == FORCED ? (uintptr_t)1 << shot->value[0] : 0;
    volatile char *loaded = launder((void *)((uintptr_t)stored ^ flip));
    (void)*loaded;
    munmap(stored, page);
    return shot->mode == FORCED ? DID_NOT_FIRE : DONE;
}

/* Well mixed, so that neighbouring seeds have nothing in common (splitmix64). */
static uint64_t mix(uint64_t seed) {
    seed += 0x9e3779b97f4a7c15;
    seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
    seed = (seed ^ seed >> 27) * 0x94d049bb133111eb;
    return seed ^ seed >> 31;
}

/* Most bits of an address show; the lowest lead to a neighbour, and nobody notices. */
static enum outcome seeded_bit_flip(const struct shot *shot) {
    struct shot drawn = {.mode = shot->mode, .value = {(int64_t)(mix((uint64_t)shot->value[0]) % 64)}};
    enum outcome outcome = bit_flip(&drawn);
    return outcome == DID_NOT_FIRE ? SILENT : outcome;
}

FAMILY(deref_faults,
    {.name = "null_read", .family = "deref", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Reads a byte through a NULL pointer, `offset` bytes in.",
     .expects = "SIGSEGV SEGV_MAPERR null",
     .parameters = {{"offset", "bytes", 0, 0, 4095}}, .fire = null_read},
    {.name = "null_write", .family = "deref", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Writes a byte through a NULL pointer, `offset` bytes in.",
     .expects = "SIGSEGV SEGV_MAPERR null",
     .parameters = {{"offset", "bytes", 0, 0, 4095}}, .fire = null_write},
    {.name = "null_call", .family = "deref", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Calls a function through a NULL pointer.",
     .expects = "SIGSEGV SEGV_MAPERR null", .fire = null_call},
    {.name = "bit_flip", .family = "deref", .kind = "deterministic", .tiers = "forced dosed", .needs = "",
     .mechanism = "Reads through a valid pointer of which one bit was flipped, as by a bad memory module.",
     .expects = "SIGSEGV SEGV_MAPERR wild",
     .parameters = {{"bit", "index", 40, 36, 45}}, .fire = bit_flip},
    {.name = "seeded_bit_flip", .family = "deref", .kind = "deterministic", .tiers = "forced dosed", .needs = "",
     .mechanism = "Reads through a valid pointer of which one bit was flipped: `seed` draws which of the 64.",
     .expects = "SIGSEGV SEGV_MAPERR wild | SIGSEGV SI_KERNEL null | SIGSEGV SEGV_ACCERR wild | silent",
     .parameters = {{"seed", "seed", 3, 0, INT32_MAX}}, .fire = seeded_bit_flip});
