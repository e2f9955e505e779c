/* oracle PROGRAM [ARGUMENT...]: executes PROGRAM as this very process, watched by a child through ptrace. The child
 * prints "pid PID", then a line "SIGNAL CODE ADDRESS SENDER THREAD PC SP" for each signal that is about to be
 * delivered, as the kernel has it. Status 77 when there is no ptrace. */
#include <elf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PTRACE = 77 };

struct registers {
    unsigned long program_counter, stack_pointer;
};

static struct registers registers_of(pid_t thread) {
    struct user_regs_struct all = {0};
    struct iovec place = {&all, sizeof all};
    ptrace(PTRACE_GETREGSET, thread, (void *)(uintptr_t)NT_PRSTATUS, &place);
#if defined(__x86_64__)
    return (struct registers){all.rip, all.rsp};
#elif defined(__aarch64__)
    return (struct registers){all.pc, all.sp};
#else
    return (struct registers){0};
#endif
}

static void tell(pid_t thread) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) != 0) return;
    uintptr_t address = info.si_code > 0 ? (uintptr_t)info.si_addr : 0;
    int sender = info.si_code > 0 ? 0 : (int)info.si_pid;
    struct registers registers = registers_of(thread);
    dprintf(STDOUT_FILENO, "%d %d %lu %d %d %lu %lu\n", info.si_signo, info.si_code, (unsigned long)address, sender,
            (int)thread, registers.program_counter, registers.stack_pointer);
}

static int watch(void) {
    for (int status;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0) return 0;
        if (!WIFSTOPPED(status)) continue;
        int is_event = status >> 16;
        if (!is_event) tell(thread);
        ptrace(PTRACE_CONT, thread, NULL, (void *)(uintptr_t)(is_event ? 0 : WSTOPSIG(status)));
    }
}

int main(int argc, char **argv) {
    int ends[2];
    char ready = 0;
    pid_t program = getpid();
    if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return NO_PTRACE;
    pid_t watcher = fork();
    if (watcher == 0) {
        if (read(ends[1], &ready, 1) != 1) return NO_PTRACE;
        ready = ptrace(PTRACE_SEIZE, program, NULL, (void *)PTRACE_O_TRACECLONE) == 0;
        dprintf(STDOUT_FILENO, "pid %d\n", (int)program);
        return write(ends[1], &ready, 1) == 1 && ready ? watch() : NO_PTRACE;
    }
    prctl(PR_SET_PTRACER, watcher);
    if (write(ends[0], &ready, 1) != 1 || read(ends[0], &ready, 1) != 1 || !ready) return NO_PTRACE;
    execv(argv[1], argv + 1);
    return NO_PTRACE;
}
