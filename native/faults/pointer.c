/* Pointers that point somewhere, but not where one may. */
#include "faults/family.h"

#include <sys/mman.h>
#include <unistd.h>


/* Neither code nor heap nor stack lies there. */
static volatile char *wild(void) { return launder((void *)(uintptr_t)0x13370000000); }

static enum outcome wild_read(const struct shot *shot) {
    (void)shot;
    (void)*wild();
    return DID_NOT_FIRE;
}

static enum outcome wild_write(const struct shot *shot) {
    (void)shot;
    *wild() = 1;
    return DID_NOT_FIRE;
}

static enum outcome wild_call(const struct shot *shot) {
    (void)shot;
    void (*volatile function)(void) = (void (*)(void))(uintptr_t)wild();
    function();
    return DID_NOT_FIRE;
}

/* Looks like NULL from outside: the processor refuses the address before there is a page to name. */
static enum outcome non_canonical_read(const struct shot *shot) {
    (void)shot;
    (void)*launder((void *)(uintptr_t)0xdeadbeefdeadbeef);
    return DID_NOT_FIRE;
}

static enum outcome kernel_read(const struct shot *shot) {
    (void)shot;
    (void)*launder((void *)(uintptr_t)0xffffffff81000000);
    return DID_NOT_FIRE;
}

static enum outcome misaligned_vector(const struct shot *shot) {
    (void)shot;
    static char buffer[64] __attribute__((aligned(16)));
    (void)*launder(buffer);
    X86_64("movaps (%0), %%xmm0" : : "r"(buffer + 1) : "xmm0");
    return DID_NOT_FIRE;
}

/* With the alignment-check flag set, plain accesses must be aligned as well. */
static enum outcome misaligned_access(const struct shot *shot) {
    (void)shot;
    static char buffer[64] __attribute__((aligned(16)));
    (void)*launder(buffer);
    X86_64(
        "pushf\n\t"
        "orl $0x40000, (%%rsp)\n\t"
        "popf\n\t"
        "movl (%0), %%eax\n\t"
        "pushf\n\t"
        "andl $0xfffbffff, (%%rsp)\n\t"
        "popf" : : "r"(buffer + 1) : "eax", "memory", "cc");
    return DID_NOT_FIRE;
}

static char *map_page(int protection) {
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

static enum outcome protected_read(const struct shot *shot) {
    (void)shot;
    char *page = map_page(PROT_NONE);
    if (page) (void)*launder(page);
    return DID_NOT_FIRE;
}

static enum outcome read_only_write(const struct shot *shot) {
    (void)shot;
    char *page = map_page(PROT_READ);
    if (page) *launder(page) = 1;
    return DID_NOT_FIRE;
}

static enum outcome guard_page(const struct shot *shot) {
    (void)shot;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + size, size, PROT_NONE) != 0) return DID_NOT_FIRE;
    volatile char *buffer = launder(pages);
    for (size_t at = 0; at <= size; at++) buffer[at] = 1;
    return DID_NOT_FIRE;
}

#define POINTER .family = "pointer", .kind = "deterministic", .tiers = "forced"

FAMILY(pointer_faults,
    {POINTER, .name = "wild_read", .needs = "", .fire = wild_read,
     .mechanism = "Reads through a well-formed pointer to nothing.", .expects = "SIGSEGV SEGV_MAPERR wild"},
    {POINTER, .name = "wild_write", .needs = "", .fire = wild_write,
     .mechanism = "Writes through a well-formed pointer to nothing.", .expects = "SIGSEGV SEGV_MAPERR wild"},
    {POINTER, .name = "wild_call", .needs = "", .fire = wild_call,
     .mechanism = "Calls a function that is not there.", .expects = "SIGSEGV SEGV_MAPERR code"},
    {POINTER, .name = "non_canonical_read", .needs = "x86_64", .fire = non_canonical_read,
     .mechanism = "Reads through a pointer whose upper bits no address can have; it is reported like NULL.",
     .expects = "SIGSEGV SI_KERNEL null"},
    {POINTER, .name = "kernel_read", .needs = "x86_64", .fire = kernel_read,
     .mechanism = "Reads an address of the kernel's.",
     .expects = "SIGSEGV SEGV_MAPERR wild | SIGSEGV SEGV_ACCERR wild"},
    {POINTER, .name = "misaligned_vector", .needs = "x86_64", .fire = misaligned_vector,
     .mechanism = "Loads a vector from an address that is not aligned; it is reported like NULL.",
     .expects = "SIGSEGV SI_KERNEL null"},
    {POINTER, .name = "misaligned_access", .needs = "x86_64", .fire = misaligned_access,
     .mechanism = "Loads a word from an odd address with alignment checks on.",
     .expects = "SIGBUS BUS_ADRALN null"},
    {POINTER, .name = "protected_read", .needs = "", .fire = protected_read,
     .mechanism = "Reads a page that is mapped without any right.", .expects = "SIGSEGV SEGV_ACCERR wild"},
    {POINTER, .name = "read_only_write", .needs = "", .fire = read_only_write,
     .mechanism = "Writes to a page that is mapped for reading.", .expects = "SIGSEGV SEGV_ACCERR wild"},
    {POINTER, .name = "guard_page", .needs = "", .fire = guard_page,
     .mechanism = "Writes past the end of a buffer into its guard page.", .expects = "SIGSEGV SEGV_ACCERR wild"});
