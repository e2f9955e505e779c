/* Sums without an answer. */
#include "faults/family.h"

#include <fenv.h>
#include <limits.h>
#include <math.h>

/* What it means to be alive after an integer division that has no answer: aarch64 gives one all the same. */
#if defined(__aarch64__)
#define UNTRAPPED SILENT
#else
#define UNTRAPPED DID_NOT_FIRE
#endif

static enum outcome integer_division(const struct shot *shot) {
    (void)shot;
    volatile int dividend = 7, zero = 0;
    volatile int quotient = dividend / zero;
    (void)quotient;
    return UNTRAPPED;
}

static enum outcome division_overflow(const struct shot *shot) {
    (void)shot;
    volatile int dividend = INT_MIN, divisor = -1;
    volatile int quotient = dividend / divisor;
    (void)quotient;
    return UNTRAPPED;
}

static enum outcome float_division(const struct shot *shot) {
    (void)shot;
    volatile double dividend = 7, zero = 0;
    feenableexcept(FE_DIVBYZERO);
    volatile double quotient = dividend / zero;
    (void)quotient;
    return DID_NOT_FIRE;
}

/* By default nobody is told: infinity goes on through whatever is computed next. */
static enum outcome float_infinity(const struct shot *shot) {
    (void)shot;
    volatile double dividend = 7, zero = 0;
    volatile double quotient = dividend / zero;
    return isinf(quotient) ? SILENT : DID_NOT_FIRE;
}

#define ARITHMETIC .family = "arithmetic", .tiers = "forced"

FAMILY(arithmetic_faults,
    {ARITHMETIC, .name = "integer_division", .kind = "deterministic", .needs = "", .fire = integer_division,
     .mechanism = "Divides an integer by zero.", .expects = "SIGFPE FPE_INTDIV code; aarch64: silent"},
    {ARITHMETIC, .name = "division_overflow", .kind = "deterministic", .needs = "", .fire = division_overflow,
     .mechanism = "Divides the smallest integer by -1.", .expects = "SIGFPE FPE_INTDIV code; aarch64: silent"},
    {ARITHMETIC, .name = "float_division", .kind = "deterministic", .needs = "x86_64", .fire = float_division,
     .mechanism = "Divides a float by zero with traps on.", .expects = "SIGFPE FPE_FLTDIV code"},
    {ARITHMETIC, .name = "float_infinity", .kind = "silent", .needs = "", .fire = float_infinity,
     .mechanism = "Divides a float by zero with traps off, and goes on with infinity.", .expects = "silent"});
