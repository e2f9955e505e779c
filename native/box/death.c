#include "box/death.h"

#include <sys/syscall.h>
#include <ucontext.h>

#include "box/machine.h"
#include "box/victim.h"

/* Puts the program counter back before a trap, which is reported behind its instruction, so that it strikes again. Returns
 * 0 for single steps, watchpoints and other traps of the processor's, which can't be repeated. */
static int do_again(int signal_number, const siginfo_t *info, ucontext_t *context) {
    int is_breakpoint = info->si_code != TRAP_TRACE && info->si_code != TRAP_HWBKPT && is_at_breakpoint(context);
    if (signal_number == SIGTRAP && !is_breakpoint) return 0;
    if (signal_number == SIGTRAP) PROGRAM_COUNTER(context) -= BREAKPOINT_BYTES;
    if (signal_number == SIGSYS) PROGRAM_COUNTER(context) -= CALL_BYTES;
    return 1;
}

/* Sends the original siginfo again, since raise() would rewrite it. Where that is refused, or may be deadly, it does what
 * raise() does. */
static int send_again(int signal_number, siginfo_t *info, struct writer writer) {
    long process = writer.process ? writer.process : CALL(SYS_getpid, 0);
    long thread = writer.thread ? writer.thread : CALL(SYS_gettid, 0);
    if (writer.may_call && CALL(SYS_rt_tgsigqueueinfo, process, thread, signal_number, (long)info) == 0) return 0;
    return CALL(SYS_tgkill, process, thread, signal_number) == 0 ? 0 : -1;
}

/* To return and fault again would not do: another thread may have healed the fault by then. So the kernel's own signal is
 * sent once more, or, under a filter that may answer a system call by death, a fault follows that nothing can heal. */
void die_of(int signal_number, siginfo_t *info, void *context) {
    struct writer writer = writer_here();
    int is_kernels = info->si_code > 0, is_trap = signal_number == SIGTRAP || signal_number == SIGSYS;
    if ((writer.may_call || !is_kernels) && send_again(signal_number, info, writer) == 0) return;
    if (is_kernels && is_trap && do_again(signal_number, info, context)) return;
    if (signal_number == SIGSEGV) fault_for_sure();
}

/* SA_RESETHAND has put the default back already, unless a handler of the program's calls this one, as whoever came before
 * it. */
static void on_crash(int signal_number, siginfo_t *info, void *context) {
    static const unsigned long by_default[4];
    allow_misalignment();
    if (is_victim()) chain_record(armed_box(), info, context, writer_here(), NULL);
    if (writer_here().may_call) CALL(SYS_rt_sigaction, signal_number, (long)by_default, 0, sizeof by_default[0]);
    die_of(signal_number, info, context);
}

struct sigaction deadly_action(void) {
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
    sigfillset(&action.sa_mask);
    return action;
}
