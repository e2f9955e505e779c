#pragma once
/* What the families share: their tables, and the few tools a fault may use. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "faults/faults.h"

struct family {
    const struct fault *rows;
    int count;
};

#define FAMILY(name, ...)                                  \
    static const struct fault rows[] = {__VA_ARGS__};      \
    const struct family name = {rows, sizeof rows / sizeof rows[0]}

extern const struct family arithmetic_faults, code_faults, control_faults, cxx_faults, deref_faults, file_faults,
    heap_faults, lifetime_faults, memory_faults, pointer_faults, race_faults, refusal_faults, runtime_faults, signal_faults, stack_faults;

/* An instruction that other architectures have not: there the row is listed, and says what it needs. */
#if defined(__x86_64__)
#define X86_64(...) __asm__ volatile(__VA_ARGS__)
#else
#define X86_64(...) (void)0
#endif

/* The pointer again, by a way the compiler can't see through. */
static inline volatile char *launder(volatile void *pointer) {
    volatile char *volatile hidden = (volatile char *)pointer; /* C++ wants the cast */
    return hidden;
}

/* pthread_create with an alternate signal stack, so that a crash on it can be recorded.
 * 0, or the error number. */
int start_thread(pthread_t *thread, void *(*body)(void *), void *argument);

/* Notes in the box that the system refused an allocation. */
void allocation_refused(void);

/* Writes `bytes` over a local array of 16 that has a stack canary behind it. */
void overflow_protected_buffer(int bytes);
