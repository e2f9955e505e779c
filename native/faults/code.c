/* The program stops itself, or runs what it may not. */
#undef NDEBUG /* the assertion is the fault */
#include "faults/family.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static enum outcome abort_call(const struct shot *shot) {
    (void)shot;
    abort();
    return DID_NOT_FIRE;
}

static enum outcome assertion(const struct shot *shot) {
    volatile int truth = 0;
    (void)shot;
    assert(truth);
    return DID_NOT_FIRE;
}

/* What -D_FORTIFY_SOURCE makes of memcpy(): the compiler knows the room, the library checks. */
static enum outcome fortified_copy(const struct shot *shot) {
    char room[16], source[64] = {0};
    volatile size_t size = sizeof source;
    (void)shot;
    __builtin___memcpy_chk(room, source, size, sizeof room);
    return launder(room)[0] ? DONE : DID_NOT_FIRE;
}

static enum outcome illegal_instruction(const struct shot *shot) {
    (void)shot;
#if defined(__x86_64__)
    __asm__ volatile("ud2");
#elif defined(__aarch64__)
    __asm__ volatile("udf #0");
#endif
    return DID_NOT_FIRE;
}

/* Data on a page without the right to execute. */
static enum outcome jump_to_data(const struct shot *shot) {
    (void)shot;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return DID_NOT_FIRE;
    memset(page, 0xc3, size);
    void (*volatile function)(void) = (void (*)(void))(uintptr_t)launder(page);
    function();
    return DID_NOT_FIRE;
}

static enum outcome write_to_code(const struct shot *shot) {
    (void)shot;
    *launder((void *)(uintptr_t)write_to_code) = 1;
    return DID_NOT_FIRE;
}

static enum outcome write_to_constant(const struct shot *shot) {
    static const char constant[] = "constant";
    (void)shot;
    *launder((void *)(uintptr_t)constant) = 'C';
    return DID_NOT_FIRE;
}

static enum outcome breakpoint(const struct shot *shot) {
    (void)shot;
    X86_64("int3");
    return DID_NOT_FIRE;
}

static enum outcome privileged_instruction(const struct shot *shot) {
    (void)shot;
    X86_64("hlt");
    return DID_NOT_FIRE;
}

/* Fifteen bytes is the longest instruction there is; this one has sixteen. */
static enum outcome overlong_instruction(const struct shot *shot) {
    (void)shot;
    X86_64(".fill 15, 1, 0x66\n\tnop");
    return DID_NOT_FIRE;
}

#define CODE .family = "code", .kind = "deterministic", .tiers = "forced"

FAMILY(code_faults,
    {CODE, .name = "abort", .needs = "", .fire = abort_call,
     .mechanism = "Calls abort(), as a failed runtime check does.", .expects = "SIGABRT SI_TKILL self"},
    {CODE, .name = "assertion", .needs = "", .fire = assertion,
     .mechanism = "Fails an assertion.", .expects = "SIGABRT SI_TKILL self"},
    {CODE, .name = "fortified_copy", .needs = "glibc", .fire = fortified_copy,
     .mechanism = "Copies more than fits; the checked memcpy() notices and aborts.",
     .expects = "SIGABRT SI_TKILL self"},
    {CODE, .name = "illegal_instruction", .needs = "", .fire = illegal_instruction,
     .mechanism = "Executes an instruction that is defined to be undefined.",
     .expects = "SIGILL ILL_ILLOPN code; aarch64: SIGILL ILL_ILLOPC code"},
    {CODE, .name = "jump_to_data", .needs = "", .fire = jump_to_data,
     .mechanism = "Calls into a page of data.", .expects = "SIGSEGV SEGV_ACCERR code"},
    {CODE, .name = "write_to_code", .needs = "", .fire = write_to_code,
     .mechanism = "Writes over its own code.", .expects = "SIGSEGV SEGV_ACCERR wild"},
    {CODE, .name = "write_to_constant", .needs = "", .fire = write_to_constant,
     .mechanism = "Writes over a constant.", .expects = "SIGSEGV SEGV_ACCERR wild"},
    {CODE, .name = "breakpoint", .needs = "x86_64", .fire = breakpoint,
     .mechanism = "Executes a breakpoint without a debugger.", .expects = "SIGTRAP SI_KERNEL null"},
    {CODE, .name = "privileged_instruction", .needs = "x86_64", .fire = privileged_instruction,
     .mechanism = "Executes an instruction of the kernel's; it is reported like NULL.",
     .expects = "SIGSEGV SI_KERNEL null"},
    {CODE, .name = "overlong_instruction", .needs = "x86_64", .fire = overlong_instruction,
     .mechanism = "Executes an instruction of more than fifteen bytes; it is reported like NULL.",
     .expects = "SIGSEGV SI_KERNEL null"});
