/* The program stops itself, or runs what is no instruction. */
#include "family.h"

#include <stdlib.h>

static enum outcome abort_call(const struct shot *shot) {
    (void)shot;
    abort();
    return DID_NOT_FIRE;
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

FAMILY(code_faults,
    {.name = "abort", .family = "code", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Calls abort(), as assert() and a failed runtime check do.",
     .expects = "SIGABRT SI_TKILL self", .fire = abort_call},
    {.name = "illegal_instruction", .family = "code", .kind = "deterministic", .tiers = "forced", .needs = "",
     .mechanism = "Executes an instruction that is defined to be undefined.",
#if defined(__aarch64__)
     .expects = "SIGILL ILL_ILLOPC code",
#else
     .expects = "SIGILL ILL_ILLOPN code",
#endif
     .fire = illegal_instruction});
