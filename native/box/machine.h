#pragma once
/* What differs between processors, for a signal handler. */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>

#if defined(__x86_64__)
enum { CALL_BYTES = 2, BREAKPOINT_BYTES = 1, ALIGNMENT_CHECK = 1 << 18 }; /* of a system call, of int3: both are traps, which stand behind them */
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.gregs[REG_RIP])
#define STACK_POINTER(context) ((context)->uc_mcontext.gregs[REG_RSP])
#elif defined(__aarch64__)
enum { CALL_BYTES = 4, BREAKPOINT_BYTES = 0 }; /* brk is a fault: it stands at the instruction */
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.pc)
#define STACK_POINTER(context) ((context)->uc_mcontext.sp)
#else
#error "the crash record knows x86-64 and aarch64"
#endif

/* Whether a trap is that of a breakpoint instruction. Where the others leave the program counter differs between machines. */
static inline int is_at_breakpoint(const ucontext_t *context) {
#if defined(__x86_64__)
    return context->uc_mcontext.gregs[REG_TRAPNO] == 3;
#else
    return (void)context, 1;
#endif
}

/* A system call that touches neither errno nor the procedure linkage table. Returns a negative error number. */
static inline long raw_call(long number, const long words[6]) {
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = words[3], fifth __asm__("r8") = words[4], sixth __asm__("r9") = words[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(words[0]), "S"(words[1]), "d"(words[2]), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = words[0], x1 __asm__("x1") = words[1],
                                   x2 __asm__("x2") = words[2], x3 __asm__("x3") = words[3], x4 __asm__("x4") = words[4],
                                   x5 __asm__("x5") = words[5];
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#endif
}

/* Calls raw_call() with up to six words; those left out are 0. */
#define CALL(number, ...) raw_call(number, (const long[6]){__VA_ARGS__})

/* Turns alignment checks off, which a program may have on and a handler inherits. Returns the flags for
 * restore_alignment(). */
static inline uint64_t allow_misalignment(void) {
#if defined(__x86_64__)
    uint64_t flags = __builtin_ia32_readeflags_u64();
    __builtin_ia32_writeeflags_u64(flags & ~(uint64_t)ALIGNMENT_CHECK);
    return flags;
#else
    return 0;
#endif
}

static inline void restore_alignment(uint64_t flags) {
#if defined(__x86_64__)
    __builtin_ia32_writeeflags_u64(flags);
#else
    (void)flags;
#endif
}

/* Faults at an address outside what the processor can address, so that no thread can map it meanwhile. */
static inline void fault_for_sure(void) {
    for (;;) *(volatile int *)(uintptr_t)0xdead000000000000u = 0;
}
