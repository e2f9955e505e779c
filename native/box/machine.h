#pragma once
/* What differs between processors, for a signal handler. */
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>

#if defined(__x86_64__)
enum { CALL_BYTES = 2, BREAKPOINT_BYTES = 1 }; /* of a system call, of int3: both are traps, which stand behind them */
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.gregs[REG_RIP])
#define STACK_POINTER(context) ((context)->uc_mcontext.gregs[REG_RSP])
#elif defined(__aarch64__)
enum { CALL_BYTES = 4, BREAKPOINT_BYTES = 0 }; /* brk is a fault: it stands at the instruction */
#define PROGRAM_COUNTER(context) ((context)->uc_mcontext.pc)
#define STACK_POINTER(context) ((context)->uc_mcontext.sp)
#else
#error "the crash record knows x86-64 and aarch64"
#endif

/* A system call that touches neither errno nor the procedure linkage table. Returns a negative error number. */
static inline long raw_call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                                   x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

/* A program may have alignment checks on, and a handler inherits them. */
static inline void allow_misalignment(void) {
#if defined(__x86_64__)
    __asm__ volatile("pushf\n\tandl $0xfffbffff, (%%rsp)\n\tpopf" : : : "memory", "cc");
#endif
}

/* An address that no thread can map meanwhile: it is outside what the processor can address. */
static inline void fault_for_sure(void) {
    for (;;) *(volatile int *)(uintptr_t)0xdead000000000000u = 0;
}
