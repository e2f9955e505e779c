/* Sums without an answer. */
#include "family.h"

static enum outcome integer_division(const struct shot *shot) {
    (void)shot;
    volatile int dividend = 7, zero = 0;
    volatile int quotient = dividend / zero;
    (void)quotient;
    return DID_NOT_FIRE;
}

FAMILY(arithmetic_faults,
    {.name = "integer_division", .family = "arithmetic", .kind = "deterministic", .tiers = "forced",
     .needs = "x86_64", /* aarch64 divides by zero without a trap */
     .mechanism = "Divides an integer by zero.",
     .expects = "SIGFPE FPE_INTDIV code", .fire = integer_division});
