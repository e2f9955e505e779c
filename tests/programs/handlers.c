/* handlers WHAT [NUMBER]: programs that live by their signal handlers: runtimes, recoverers, reporters. */
#include <errno.h>
#include <execinfo.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "named.h"

enum { PAGE = 4096, PAGES = 64, COUNT = 7 };

static const int crashes[COUNT] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
static sigjmp_buf back;
static volatile sig_atomic_t count;
static volatile int zero;

static void set(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* --- recoverers --- */

static void jump(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    count++;
    siglongjmp(back, number);
}

static void undefined(void) { __builtin_trap(); }

static void divide(void) { zero = 1 / zero; }

static void each_kind(long rounds) {
    static void (*const faults[])(void) = {null, undefined, divide};
    for (int i = 0; i < COUNT; i++) set(crashes[i], jump, SA_NODEFER);
    for (volatile long i = 0; i < rounds; i++) {
        int number = sigsetjmp(back, 1);
        if (number) printf("%d ", number);
        else faults[i % 3]();
    }
    printf("%d\n", (int)count);
}

/* A write barrier: the handler opens the page, and the instruction is done again. */
static char *heap;

static void open_page(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    char *page = heap + ((char *)info->si_addr - heap) / PAGE * PAGE;
    if (page < heap || page >= heap + PAGES * PAGE) _exit(DID_NOT_HAPPEN);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    count++;
}

static void *write_all(void *start) {
    for (int i = 0; i < PAGES; i += 2) ((volatile char *)start)[i * PAGE] = 1;
    return NULL;
}

static void barrier(long rounds) {
    heap = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    set(SIGSEGV, open_page, SA_RESTART);
    for (long i = 0; i < rounds; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, write_all, heap + PAGE);
        write_all(heap);
        pthread_join(thread, NULL);
        mprotect(heap, PAGES * PAGE, PROT_READ);
    }
    printf("%d\n", (int)count);
}

/* An interpreter's null check: the handler goes on behind the instruction. */
static void step_over(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
#if defined(__x86_64__)
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += number == SIGILL ? 2 : 3;
#else
    ((ucontext_t *)context)->uc_mcontext.pc += 4;
#endif
    count++;
}

static void stepped_over(long rounds) {
    set(SIGSEGV, step_over, SA_ONSTACK);
    set(SIGILL, step_over, SA_ONSTACK);
    for (long i = 0; i < rounds; i++) {
#if defined(__x86_64__)
        __asm__ volatile("xor %%eax, %%eax\n\tmovb %%cl, (%%rax, %%rax)\n\tud2" : : : "rax", "memory");
#else
        __asm__ volatile("mov x0, xzr\n\tstrb w0, [x0]\n\tudf #0" : : : "x0", "memory");
#endif
    }
    printf("%d\n", (int)count);
}

/* --- traps --- */

static void count_trap(int number, siginfo_t *info, void *context) {
    (void)number, (void)context, (void)info;
#if !defined(__x86_64__)
    ((ucontext_t *)context)->uc_mcontext.pc += 4;
#endif
    count++;
}

static void breakpoints(long rounds) {
    set(SIGTRAP, count_trap, 0);
    for (long i = 0; i < rounds; i++) {
#if defined(__x86_64__)
        __asm__ volatile("int3");
#else
        __asm__ volatile("brk 0");
#endif
    }
    printf("%d\n", (int)count);
}

#define ALLOW_ALL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* A sandbox that answers a system call itself. */
static void answer(int number, siginfo_t *info, void *context) {
    (void)number;
#if defined(__x86_64__)
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = info->si_code == 1 /* SYS_SECCOMP */ ? 4321 : -1;
#else
    ((ucontext_t *)context)->uc_mcontext.regs[0] = info->si_code == 1 /* SYS_SECCOMP */ ? 4321 : -1;
#endif
}

static void filter(long call, uint32_t result) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, result),
        ALLOW_ALL,
    };
    struct sock_fprog whole = {sizeof program / sizeof *program, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) _exit(DID_NOT_HAPPEN);
}

static void emulated(long unused) {
    (void)unused;
    set(SIGSYS, answer, 0);
    filter(SYS_getppid, SECCOMP_RET_TRAP);
    printf("%ld\n", syscall(SYS_getppid));
    fflush(stdout);
    null();
}

static void trapped(long unused) { (void)unused, filter(SYS_getppid, SECCOMP_RET_TRAP), syscall(SYS_getppid), say("went on\n"); }

/* By seccomp(2) itself, and a filter that kills whoever sends a signal. */
static void no_signals(long unused) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        ALLOW_ALL,
    };
    struct sock_fprog whole = {sizeof program / sizeof *program, program};
    (void)unused;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) != 0) _exit(DID_NOT_HAPPEN);
    null();
}

/* --- reporters --- */

static void frames(int number, siginfo_t *info, void *context) {
    void *all[32];
    (void)info, (void)context;
    say(backtrace(all, 32) > 1 ? "frames\n" : "no frames\n");
    signal(number, SIG_DFL);
    raise(number);
}

static void with_frames(long unused) {
    void *first[2];
    (void)unused;
    backtrace(first, 2);
    set(SIGSEGV, frames, SA_ONSTACK);
    null();
}

/* As crash reporters do it: a child attaches to the thread that is in the handler, which ends when it has been looked at. */
static void dump(int number, siginfo_t *info, void *context) {
    pid_t self = getpid();
    (void)context;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    pid_t child = fork();
    if (child == 0) {
        int status;
        long result = ptrace(PTRACE_ATTACH, self, NULL, NULL);
        if (result == 0) waitpid(self, &status, 0);
        if (result == 0) ptrace(PTRACE_DETACH, self, NULL, NULL);
        _exit(result == 0 ? 0 : 1);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    say(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "dumped\n" : "not dumped\n");
    say(info->si_signo == number && info->si_addr == NULL ? "at null\n" : "elsewhere\n");
    signal(number, SIG_DFL);
}

static void with_dump(long unused) {
    (void)unused;
    set(SIGSEGV, dump, SA_ONSTACK);
    null();
}

static void exits(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    exit(number + 20);
}

static void say_goodbye(void) { say("goodbye\n"); }

static void leaves(long number) {
    atexit(say_goodbye);
    set((int)number, exits, 0);
    if (number == SIGABRT) abort();
    null();
}

static void returns(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    say("returns\n");
}

/* abort() goes on where a handler returns. */
static void abort_returns(long unused) {
    (void)unused;
    set(SIGABRT, returns, 0);
    abort();
}

static void ignored_abort(long unused) { (void)unused, signal(SIGABRT, SIG_IGN), abort(); }

static void *leave_thread(void *unused) {
    null();
    return unused;
}

static void end_thread(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    pthread_exit(NULL);
}

/* A worker that crashes is a worker less. */
static void thread_ends(long unused) {
    pthread_t thread;
    (void)unused;
    set(SIGSEGV, end_thread, 0);
    pthread_create(&thread, NULL, leave_thread, NULL);
    pthread_join(thread, NULL);
    say("one less\n");
}

/* --- signals at a rate, nested, queued --- */

static void tick(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context, count++; }

static void profiled(long ticks) {
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    set(SIGPROF, tick, SA_ONSTACK | SA_RESTART);
    setitimer(ITIMER_PROF, &every, NULL);
    while (count < ticks) continue;
    setitimer(ITIMER_PROF, &never, NULL);
    say("ticked\n");
}

static void nest(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    if (++count < 40) raise(number);
    if (count == 40) null();
}

static void jump_out(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    siglongjmp(back, 1);
}

static void nested(long unused) {
    (void)unused;
    set(SIGUSR1, nest, SA_NODEFER);
    set(SIGSEGV, jump_out, 0);
    if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
    printf("%d\n", (int)count);
    signal(SIGSEGV, SIG_DFL);
    fflush(stdout);
    null();
}

static void siginterrupted(long unused) {
    char byte;
    int ends[2];
    (void)unused;
    if (pipe(ends) != 0) return;
    set(SIGALRM, tick, 0);
    ualarm(20000, 0);
    long got = read(ends[0], &byte, 1);
    printf("%ld %d\n", got, errno == EINTR);
}

/* Workers that are signalled together, each at work on its signal stack, if it has one. */
static void fill_stack(int number, siginfo_t *info, void *context) {
    volatile char room[8192];
    char mine = (char)getpid();
    (void)number, (void)info, (void)context;
    for (size_t i = 0; i < sizeof room; i++) room[i] = mine;
    for (size_t i = 0; i < sizeof room; i++)
        if (room[i] != mine) _exit(DID_NOT_HAPPEN);
    count++;
}

static void work(long rounds) {
    while (count < rounds) raise(SIGUSR1);
    _exit(0);
}

static void preforked(long rounds) {
    int status, wrong = 0;
    set(SIGUSR1, fill_stack, SA_ONSTACK);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) work(rounds);
    while (wait(&status) > 0) wrong += status != 0;
    printf("%d wrong\n", wrong);
}

static const struct part all[] = {
    {"each_kind", each_kind}, {"barrier", barrier}, {"stepped_over", stepped_over}, {"breakpoints", breakpoints},
    {"emulated", emulated}, {"trapped", trapped}, {"no_signals", no_signals}, {"with_frames", with_frames},
    {"with_dump", with_dump}, {"leaves", leaves}, {"abort_returns", abort_returns}, {"ignored_abort", ignored_abort},
    {"thread_ends", thread_ends}, {"profiled", profiled}, {"nested", nested}, {"preforked", preforked}, {"siginterrupted", siginterrupted},
};

int main(int argc, char **argv) { return run_part(all, sizeof all / sizeof *all, argc, argv); }
