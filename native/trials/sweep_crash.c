/* A crash of the swept process: its signal, and the stack that led there. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "box/machine.h"
#include "trials/sweep.h"

enum { SIGNAL_STACK_BYTES = 1 << 18 };

/* The last one asks a command that hangs to end, so that it shows where it hangs. */
static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGTERM};

/* Whether the process has run into something that is no code, a module's data for one. */
static int is_lost(const struct crash *crash) {
    return crash->program_counter == crash->address || !is_code(crash->program_counter);
}

/* Makes the frame that called stand for a call of what is no code: nothing can be unwound from there. */
static uint64_t return_to_caller(ucontext_t *context) {
#if defined(__x86_64__)
    uint64_t caller = *(uint64_t *)(uintptr_t)STACK_POINTER(context);
    if (is_code(caller)) STACK_POINTER(context) += (greg_t)sizeof caller;
#else
    uint64_t caller = context->uc_mcontext.regs[30];
#endif
    if (is_code(caller)) PROGRAM_COUNTER(context) = (__typeof__(PROGRAM_COUNTER(context)))(caller - 1);
    return (uint64_t)PROGRAM_COUNTER(context);
}

static void write_record(const siginfo_t *info, const ucontext_t *context) {
    struct crash crash = {.signal = info->si_signo, .code = info->si_code, .order = 1};
    crash.thread = (int32_t)syscall(SYS_gettid);
    if (info->si_code <= 0)
        crash.sender = (int32_t)info->si_pid; /* si_addr shares its place with si_pid */
    else
        crash.address = (uint64_t)(uintptr_t)info->si_addr;
    crash.program_counter = (uint64_t)PROGRAM_COUNTER(context);
    crash.stack_pointer = (uint64_t)STACK_POINTER(context);
    sweep->answer.crash = crash;
    sweep->answer.crashed = 1;
}

static int is_swept(void) { return sweep && sweep->answer.pid == getpid(); }

/* Dies of the original siginfo: the signal is blocked here, and strikes on return. A crash while we unwind kills at
 * once, with the record already there. */
static void on_crash(int number, siginfo_t *info, void *machine) {
    ucontext_t *context = machine;
    if (is_swept() && !sweep->answer.crashed) {
        const struct crash *crash = &sweep->answer.crash;
        busy = 1;
        write_record(info, context);
        uint64_t from = is_lost(crash) ? return_to_caller(context) : crash->program_counter;
        take_stack(&sweep->answer.crashed_at, from);
    }
    signal(number, SIG_DFL);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), number, info);
}

/* A signal that is ignored, or that the program handles, stays so. */
static void install_handler(int number) {
    struct sigaction current, action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    if (sigaction(number, NULL, &current) == 0 && current.sa_handler == SIG_DFL) sigaction(number, &action, NULL);
}

void watch_crashes(void) {
    stack_t current;
    if (sigaltstack(NULL, &current) == 0 && current.ss_flags & SS_DISABLE) {
        void *memory = mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory != MAP_FAILED) sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = SIGNAL_STACK_BYTES}, NULL);
    }
    for (unsigned at = 0; at < sizeof crash_signals / sizeof crash_signals[0]; at++) install_handler(crash_signals[at]);
}
