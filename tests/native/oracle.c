/* oracle PROGRAM [ARGUMENT...]: executes PROGRAM as this very process, watched by a child through ptrace. The child
 * prints "pid PID", then a line "SIGNAL CODE ADDRESS SENDER THREAD" for each signal that is about to be delivered,
 * as the kernel has it. Status 77 when there is no ptrace. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PTRACE = 77 };

static void tell(pid_t thread) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) != 0) return;
    uintptr_t address = info.si_code > 0 ? (uintptr_t)info.si_addr : 0;
    int sender = info.si_code > 0 ? 0 : (int)info.si_pid;
    dprintf(STDOUT_FILENO, "%d %d %lu %d %d\n", info.si_signo, info.si_code, (unsigned long)address, sender,
            (int)thread);
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
