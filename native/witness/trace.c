#include "witness/trace.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/chain.h"
#include "box/image.h"
#include "box/victim.h"
#include "witness/threads.h"
#include "witness/witness.h"

/* --- what a stop tells --- */

static void read_registers(pid_t thread, struct crash *crash) {
    struct user_regs_struct all = {0};
    struct iovec place = {&all, sizeof all};
    ptrace(PTRACE_GETREGSET, thread, (void *)(uintptr_t)NT_PRSTATUS, &place);
#if defined(__x86_64__)
    crash->program_counter = all.rip;
    crash->stack_pointer = all.rsp;
#else
    crash->program_counter = all.pc;
    crash->stack_pointer = all.sp;
#endif
}

static struct mark record(pid_t thread, int proc, struct box *page) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, thread, NULL, &info) != 0) return (struct mark){NULL, 0};
    struct crash crash = {.signal = info.si_signo, .code = info.si_code, .thread = thread};
    if (info.si_code <= 0)
        crash.sender = info.si_pid;
    else
        crash.address = (uintptr_t)info.si_addr;
    read_registers(thread, &crash);
    find_place(proc, thread, &crash);
    return chain_add(page, crash, (struct writer){0});
}

static int is_crash_signal(int number) {
    for (int i = 0; i < CRASH_SIGNALS; i++)
        if (crash_signals[i] == number) return 1;
    return 0;
}

/* The number of the system call that the thread is about to make, or -1. */
static long call_of(pid_t thread) {
    struct __ptrace_syscall_info info;
    long bytes = ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, &info);
    return bytes > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY ? (long)info.entry.nr : -1;
}

/* --- the tracer's loop --- */

enum { CALL_STOP = SIGTRAP | 0x80, NESTED = 8, MOST_HANDLING = 64 };

/* A thread in a handler of its own for a crash signal, and for those that came while it was. */
struct handling {
    pid_t thread; /* 0: free */
    int depth;
    struct mark marks[NESTED];
};

struct tracer {
    pid_t victim;
    int proc;
    struct box *page;
    int has_let_go;
    struct handling handling[MOST_HANDLING];
};

static struct handling *handling_of(struct tracer *tracer, pid_t thread) {
    for (int i = 0; i < MOST_HANDLING; i++)
        if (tracer->handling[i].thread == thread) return &tracer->handling[i];
    return NULL;
}

static void enter_handler(struct tracer *tracer, pid_t thread, struct mark mark) {
    struct handling *here = handling_of(tracer, thread);
    if (!here) here = handling_of(tracer, 0);
    if (!here || here->depth == NESTED) return;
    here->thread = thread;
    here->marks[here->depth++] = mark;
}

static void leave_handler(struct handling *here) {
    chain_returned(here->marks[--here->depth]);
    if (here->depth == 0) here->thread = 0;
}

static void go_on(enum __ptrace_request how, pid_t thread, int signal_number) {
    ptrace(how, thread, NULL, (void *)(uintptr_t)signal_number);
}

/* Lets a thread go on. In a handler it stops at its next system call, since the return from a handler is one. */
static void resume(struct tracer *tracer, pid_t thread, int signal_number) {
    go_on(handling_of(tracer, thread) ? PTRACE_SYSCALL : PTRACE_CONT, thread, signal_number);
}

/* Lets go of a thread, which must be stopped once more for that. If it was just getting a signal, it gets it. */
static void let_go_of(pid_t thread) {
    int status;
    if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) != 0) return;
    if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status)) return;
    int is_signal = status >> 16 == 0 && WSTOPSIG(status) != CALL_STOP;
    go_on(PTRACE_DETACH, thread, is_signal ? WSTOPSIG(status) : 0);
}

static void let_go(struct tracer *tracer, pid_t thread, int signal_number) {
    pid_t others[MOST_THREADS];
    int count = list_threads(tracer->proc, tracer->victim, others);
    for (int i = 0; i < count; i++)
        if (others[i] != thread) let_go_of(others[i]);
    go_on(PTRACE_DETACH, thread, signal_number);
    tracer->has_let_go = 1;
}

static void on_signal(struct tracer *tracer, pid_t thread, int signal_number) {
    if (is_crash_signal(signal_number)) {
        struct mark mark = record(thread, tracer->proc, tracer->page);
        if (is_caught(tracer->proc, thread, signal_number)) enter_handler(tracer, thread, mark);
    }
    resume(tracer, thread, signal_number);
}

/* Whether the call starts a process. A crash handler does that to have another tracer look at this process, and a runtime's
 * handler does not. */
static int starts_process(long call) {
#if defined(__x86_64__)
    if (call == SYS_fork || call == SYS_vfork) return 1;
#endif
    return call == SYS_clone || call == SYS_clone3;
}

static void on_call(struct tracer *tracer, pid_t thread) {
    struct handling *here = handling_of(tracer, thread);
    long call = call_of(thread);
    if (here && starts_process(call)) {
        let_go(tracer, thread, 0);
        return;
    }
    if (here && call == SYS_rt_sigreturn) leave_handler(here);
    resume(tracer, thread, 0);
}

/* What came before belongs to another program. A sanitizer that looks for leaks traces itself, and minds. */
static void on_exec(struct tracer *tracer, pid_t thread) {
    char path[NAME_MAX];
    memset(tracer->page->chain, 0, sizeof tracer->page->chain);
    tracer->page->records = 0;
    snprintf(path, sizeof path, "%d/exe", (int)tracer->victim);
    memset(tracer->handling, 0, sizeof tracer->handling);
    struct image image = {NULL, openat(tracer->proc, path, O_RDONLY | O_CLOEXEC)};
    int minds = is_sanitized(&image);
    close(image.fd);
    if (!minds) {
        resume(tracer, thread, 0);
        return;
    }
    tracer->page->armed = 0;
    note_reason(tracer->page, NULL, "a sanitizer does not bear a tracer");
    let_go(tracer, thread, 0);
}

/* A stop for job control stays one. What clone() made is traced with its maker, and may be no thread of the victim's. */
static void on_stop(struct tracer *tracer, pid_t thread, int signal_number) {
    if (signal_number == SIGSTOP || signal_number == SIGTSTP || signal_number == SIGTTIN || signal_number == SIGTTOU)
        go_on(PTRACE_LISTEN, thread, 0);
    else if (process_of(tracer->proc, thread) == tracer->victim)
        resume(tracer, thread, 0);
    else
        go_on(PTRACE_DETACH, thread, 0);
}

static void on_event(struct tracer *tracer, pid_t thread, int status) {
    int event = status >> 16, signal_number = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXEC)
        on_exec(tracer, thread);
    else if (event == PTRACE_EVENT_STOP)
        on_stop(tracer, thread, signal_number);
    else if (event)
        resume(tracer, thread, 0);
    else if (signal_number == CALL_STOP)
        on_call(tracer, thread);
    else
        on_signal(tracer, thread, signal_number);
}

static void follow(struct tracer *tracer) {
    for (int status; !tracer->has_let_go;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno != EINTR) return;
        if (thread > 0 && WIFSTOPPED(status)) on_event(tracer, thread, status);
    }
}

/* --- from outside --- */

/* Becomes the tracer. It holds none of the guard's descriptors, since the guard's lines must end with the guard. */
static _Noreturn void be_tracer(pid_t victim, int proc, struct box *page, int line) {
    struct tracer tracer = {.victim = victim, .proc = STDOUT_FILENO, .page = page};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(line, STDIN_FILENO);
    dup2(proc, STDOUT_FILENO);
    syscall(SYS_close_range, STDERR_FILENO, ~0u, 0);
    long wanted = PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    int error = ptrace(PTRACE_SEIZE, victim, NULL, (void *)wanted) == 0 ? 0 : errno;
    if (write(STDIN_FILENO, &error, sizeof error) != (ssize_t)sizeof error || error) _exit(1);
    follow(&tracer);
    _exit(0);
}

/* Forks into our own PID namespace. Our children may be meant for the victim's, where the tracer would be seen, and killed
 * with the victim. */
static pid_t fork_outside(int proc) {
    int own = openat(proc, "self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own >= 0) setns(own, CLONE_NEWPID);
    if (own >= 0) close(own);
    return fork();
}

pid_t trace_begin(pid_t victim, int proc, struct box *page) {
    int line[2], error = EPIPE;
    if (pipe2(line, O_CLOEXEC) != 0) return witness_fails(page, "trace", errno), 0;
    pid_t tracer = fork_outside(proc);
    if (tracer == 0) be_tracer(victim, proc, page, line[1]);
    close(line[1]);
    if (tracer < 0) error = errno;
    if (tracer > 0 && read(line[0], &error, sizeof error) != (ssize_t)sizeof error) error = EPIPE;
    close(line[0]);
    if (!error) return page->armed = 1, tracer;
    if (tracer > 0) waitpid(tracer, NULL, 0);
    return witness_fails(page, "ptrace", error), 0;
}

void trace_end(pid_t tracer) {
    kill(tracer, SIGKILL); /* it has seen the end before its parent could */
    waitpid(tracer, NULL, 0);
}
