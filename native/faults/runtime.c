/* Handlers, filters and wrappers that change how a crash looks from outside. */
#include "faults/family.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/namespace.h"

static enum outcome crash_under(void (*handler)(int)) {
    signal(SIGSEGV, handler);
    (void)*launder(NULL);
    return DID_NOT_FIRE;
}

static void reraise(int signal_number) {
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static enum outcome handler_reraises(const struct shot *shot) {
    (void)shot;
    return crash_under(reraise);
}

static void leave(int signal_number) {
    (void)signal_number;
    _exit(1);
}

static enum outcome handler_exits(const struct shot *shot) {
    (void)shot;
    return crash_under(leave);
}

static void come_back(int signal_number) { (void)signal_number; }

/* The faulting instruction runs again, and again. */
static enum outcome handler_returns(const struct shot *shot) {
    (void)shot;
    return crash_under(come_back);
}

static void crash_again(int signal_number) {
    (void)signal_number;
    *launder(NULL) = 1;
}

static enum outcome crash_in_handler(const struct shot *shot) {
    (void)shot;
    return crash_under(crash_again);
}

static enum outcome forbid_getppid(unsigned action) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return DID_NOT_FIRE;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return DID_NOT_FIRE;
    syscall(SYS_getppid);
    return DID_NOT_FIRE;
}

static enum outcome seccomp_trap(const struct shot *shot) {
    (void)shot;
    return forbid_getppid(SECCOMP_RET_TRAP);
}

static enum outcome seccomp_kill(const struct shot *shot) {
    (void)shot;
    return forbid_getppid(SECCOMP_RET_KILL_PROCESS);
}

/* The status of a child that crashed; -1 when there was none. */
static int crashed_child(void) {
    int status;
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) return -1;
    return WTERMSIG(status);
}

static enum outcome crashed_helper(const struct shot *shot) {
    (void)shot;
    return crashed_child() == SIGSEGV ? SILENT : DID_NOT_FIRE;
}

/* As a shell does it. */
static enum outcome shell_status(const struct shot *shot) {
    (void)shot;
    int signal_number = crashed_child();
    if (signal_number > 0) _exit(128 + signal_number);
    return DID_NOT_FIRE;
}

/* As sys.exit(-signal) and its likes do it. */
static enum outcome negative_status(const struct shot *shot) {
    (void)shot;
    int signal_number = crashed_child();
    if (signal_number > 0) _exit(-signal_number & 0xff);
    return DID_NOT_FIRE;
}

/* The status of a child that is init of a PID namespace of its own, and does `act`; -1 when there was none. */
static int status_of_init(void (*act)(void)) {
    int status;
    if (leave_namespaces(CLONE_NEWPID) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        for (int signal_number = 1; signal_number < NSIG; signal_number++) signal(signal_number, SIG_DFL);
        if (getpid() == 1) act();
        _exit(1);
    }
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

enum { ALIVE = 42 };

static void kill_init(void) {
    kill(getpid(), SIGKILL);
    raise(SIGSEGV);
    _exit(ALIVE);
}

/* A signal that init sends itself, and has no handler for, is never delivered. */
static enum outcome init_kills_itself(const struct shot *shot) {
    int status = status_of_init(kill_init);
    (void)shot;
    return WIFEXITED(status) && WEXITSTATUS(status) == ALIVE ? SILENT : DID_NOT_FIRE;
}

/* Its SIGABRT has no effect, so that abort() takes to an instruction that can't be executed. */
static enum outcome init_aborts(const struct shot *shot) {
    int status = status_of_init(abort);
    (void)shot;
    if (WIFSIGNALED(status)) _exit(128 + WTERMSIG(status));
    return DID_NOT_FIRE;
}

#define RUNTIME .family = "runtime", .tiers = "forced", .needs = ""

FAMILY(runtime_faults,
    {RUNTIME, .name = "handler_reraises", .kind = "deterministic", .fire = handler_reraises,
     .mechanism = "Crashes under a handler that raises the signal again: the record is lost.", .expects = "SIGSEGV"},
    {RUNTIME, .name = "handler_exits", .kind = "exit", .fire = handler_exits,
     .mechanism = "Crashes under a handler that leaves with status 1.", .expects = "exited 1"},
    {RUNTIME, .name = "handler_returns", .kind = "hang", .fire = handler_returns,
     .mechanism = "Crashes under a handler that returns: it crashes again, for ever.",
     .expects = "SIGTERM by the deadline"},
    {RUNTIME, .name = "crash_in_handler", .kind = "deterministic", .fire = crash_in_handler,
     .mechanism = "Crashes in the handler of a crash.", .expects = "SIGSEGV"},
    {RUNTIME, .name = "seccomp_trap", .kind = "deterministic", .fire = seccomp_trap,
     .mechanism = "Makes a system call that a filter traps.", .expects = "SIGSYS SYS_SECCOMP code"},
    {RUNTIME, .name = "seccomp_kill", .kind = "deterministic", .fire = seccomp_kill,
     .mechanism = "Makes a system call that a filter kills for.", .expects = "SIGSYS"},
    {RUNTIME, .name = "crashed_helper", .kind = "silent", .fire = crashed_helper,
     .mechanism = "Ignores that its child has crashed.", .expects = "silent"},
    {RUNTIME, .name = "shell_status", .kind = "exit", .fire = shell_status,
     .mechanism = "Reports a child's SIGSEGV as a shell does.", .expects = "exited 139"},
    {RUNTIME, .name = "negative_status", .kind = "exit", .fire = negative_status,
     .mechanism = "Reports a child's SIGSEGV as the negative number that some runtimes use.",
     .expects = "exited 245"},
    {.family = "runtime", .tiers = "forced", .needs = "namespace", .name = "init_kills_itself", .kind = "silent",
     .mechanism = "Init of a container sends itself SIGKILL and SIGSEGV, and lives.", .expects = "silent",
     .fire = init_kills_itself},
    {.family = "runtime", .tiers = "forced", .needs = "namespace x86_64 glibc", .name = "init_aborts", .kind = "exit",
     .mechanism = "Init of a container calls abort(); it is reported as SIGSEGV is.", .expects = "exited 139",
     .fire = init_aborts});
