/* corners WHAT [NUMBER]: signal handlers, stacks and traps where programs seldom go. */
#include <dlfcn.h>
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
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "named.h"

enum { PAGE = 4096, PAGES = 64, STACK = 65536, THREADS = 8 };

typedef int set_action(int, const struct sigaction *, struct sigaction *);

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
static sigjmp_buf back;
static volatile sig_atomic_t count;
static char own_stack[STACK];

static void set(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void jump(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    count++;
    siglongjmp(back, number);
}

static void tell(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context, count++; }

static void told(const char *what, long number) {
    printf("%s %ld\n", what, number);
    fflush(stdout);
}

static void use_own_stack(void) {
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    sigaltstack(&stack, NULL);
}

/* --- who lists its frames --- */

static void list_frames(void) {
    void *all[32];
    backtrace_symbols_fd(all, backtrace(all, 32), STDOUT_FILENO);
}

static void frames(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    list_frames();
    signal(number, SIG_DFL);
}

static void handler_frames(long flags) {
    void *first[2];
    backtrace(first, 2);
    use_own_stack();
    set(SIGSEGV, frames, (int)flags);
    null();
}

static void *frames_of_thread(void *unused) {
    list_frames();
    set(SIGSEGV, frames, 0);
    null();
    return unused;
}

static void list_many(int number, siginfo_t *info, void *context) {
    static void *frames[2048];
    (void)number, (void)info, (void)context;
    dprintf(STDOUT_FILENO, "%d\n", backtrace(frames, 2048) > 2000);
    _exit(3);
}

static int run_deep(int depth) {
    volatile char room[128] = {(char)depth};
    return depth < 0 ? 0 : run_deep(depth + 1) + room[0];
}

/* Its list is as long as its signal stack: there is no room for a copy. */
static void many_frames(long unused) {
    static char small[16384];
    void *first[1];
    (void)unused;
    backtrace(first, 1); /* its first call loads a library */
    sigaltstack(&(stack_t){.ss_sp = small, .ss_size = sizeof small}, NULL);
    set(SIGSEGV, list_many, SA_ONSTACK);
    told("depth", run_deep(0));
}

static void thread_frames(long unused) {
    pthread_t thread;
    (void)unused;
    pthread_create(&thread, NULL, frames_of_thread, NULL);
    pthread_join(thread, NULL);
}

/* --- who finds the C library's functions by a handle --- */

static void by_handle(long unused) {
    void *library = dlopen("libc.so.6", RTLD_NOW);
    set_action *sets = (set_action *)dlsym(library, "sigaction");
    struct sigaction old, mine = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO};
    (void)unused;
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        if (sets(crashes[i], NULL, &old) == 0) told(old.sa_handler == SIG_DFL ? "default" : "set", old.sa_flags);
    sets(SIGSEGV, &mine, NULL);
    if (!sigsetjmp(back, 1)) null();
    sigaction(SIGSEGV, NULL, &old);
    told(old.sa_sigaction == jump ? "mine" : "another", count);
    signal(SIGSEGV, SIG_DFL);
    null();
}

static void strict_by_handle(long unused) {
    int (*call)(int, ...) = (int (*)(int, ...))dlsym(dlopen("libc.so.6", RTLD_NOW), "prctl");
    (void)unused;
    if (call(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) _exit(DID_NOT_HAPPEN);
    null();
}

/* RTLD_NEXT means whoever asks. */
static void by_order(long unused) {
    (void)unused;
    told("next", dlsym(RTLD_NEXT, "malloc") != NULL);
    told("none", dlsym(RTLD_NEXT, "no_such_name") == NULL);
    told("error", dlerror() != NULL);
    told("default", dlsym(RTLD_DEFAULT, "sigaction") == (void *)sigaction);
    told("no error", dlerror() == NULL);
}

/* --- flags --- */

static void tell_flags(int number) {
    struct sigaction action;
    sigaction(number, NULL, &action);
    told("flags", action.sa_flags);
}

static void interrupts(long unused) {
    int (*change)(int, int) = (int (*)(int, int))dlsym(RTLD_DEFAULT, "siginterrupt"); /* the compiler calls it old */
    (void)unused;
    set(SIGSEGV, tell, SA_RESTART);
    change(SIGSEGV, 1), tell_flags(SIGSEGV);
    change(SIGSEGV, 0), tell_flags(SIGSEGV);
    change(SIGFPE, 1), signal(SIGFPE, SIG_IGN), tell_flags(SIGFPE);
}

static void deeper(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    if (++count < 200) null();
    told("deep", count);
    _exit(9);
}

static void nodefer(long unused) { (void)unused, set(SIGSEGV, deeper, SA_NODEFER), null(); }

static void endless(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context, null(); }

static void endless_on_own_stack(long flags) {
    use_own_stack();
    set(SIGSEGV, endless, (int)flags);
    null();
}

/* The smallest signal stack that a handler can do with. */
static void tiny_stack(long more) {
    char *memory = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t least = getauxval(51 /* AT_MINSIGSTKSZ */);
    stack_t stack = {.ss_sp = memory + STACK, .ss_size = (least ? least : MINSIGSTKSZ) + (size_t)more};
    int spoilt = 0;
    if (sigaltstack(&stack, NULL) != 0) _exit(DID_NOT_HAPPEN);
    memset(memory, 0x5a, STACK);
    set(SIGSEGV, jump, SA_ONSTACK);
    for (int i = 0; i < 3; i++)
        if (!sigsetjmp(back, 1)) null();
    for (int i = 0; i < STACK; i++) spoilt |= memory[i] != 0x5a;
    told(spoilt ? "overran" : "within", count);
}

static void tell_all(int number, siginfo_t *info, void *context) {
    const ucontext_t *state = context;
    sigset_t mask;
    int rest = 0;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (size_t i = 48; i < sizeof *info; i++) rest |= ((char *)info)[i];
    printf("%d %d %d %p %d %lx\n", number, info->si_code, info->si_errno, info->si_addr, rest, *(long *)&mask);
    printf("%lx %d\n", *(const long *)&state->uc_sigmask, state->uc_link == NULL);
    fflush(stdout);
    _exit(0);
}

static void sees(long flags) {
    sigset_t other;
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    sigprocmask(SIG_BLOCK, &other, NULL);
    set(SIGSEGV, tell_all, (int)flags);
    null();
}

/* --- what handlers do --- */

static void aborts(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context, abort(); }

static void executes(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    execlp("sh", "sh", "-c", "grep -e SigBlk -e SigIgn /proc/self/status; kill -SEGV $$; echo blocked; exit 4", NULL);
}

static void forks(int number, siginfo_t *info, void *context) {
    int status = 0;
    (void)info, (void)context;
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        signal(number, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        null();
    }
    waitpid(child, &status, 0);
    told("child", status & 0x7f);
    _exit(5);
}

static void asks_a_shell(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    told("shell", system("grep -e SigBlk -e SigIgn /proc/self/status; kill -SEGV $$; exit 3"));
    _exit(6);
}

static void in_handler(long what) {
    static void (*const all[])(int, siginfo_t *, void *) = {aborts, executes, forks, asks_a_shell};
    set(SIGSEGV, all[what], 0);
    null();
}

static ucontext_t before;

static void set_context(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    count++;
    setcontext(&before);
}

static void leaves_by_context(long rounds) {
    volatile int done = 0;
    set(SIGSEGV, set_context, SA_NODEFER);
    getcontext(&before);
    if (done++ < rounds) null();
    told("left", count);
    signal(SIGSEGV, SIG_DFL);
    null();
}

/* --- stacks --- */

static char *growing;
static ucontext_t outside, inside;
static int depth;

static int recurse(int left) {
    volatile char room[1024];
    room[0] = (char)left;
    return left == 0 ? 0 : recurse(left - 1) + room[0] - (char)left + 1;
}

static void grow(int number, siginfo_t *info, void *context) {
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    (void)number, (void)context;
    count++;
    if (page < growing || page >= growing + PAGES * PAGE) _exit(3);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

static void in_fiber(void) { told("depth", recurse(depth)); }

static void run_fiber(void) {
    getcontext(&inside);
    inside.uc_stack.ss_sp = growing;
    inside.uc_stack.ss_size = PAGES * PAGE;
    inside.uc_link = &outside;
    makecontext(&inside, in_fiber, 0);
    swapcontext(&outside, &inside);
}

/* A fiber whose stack grows in the handler, page by page. */
static void growing_fiber(long wanted) {
    growing = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(growing + (PAGES - 2) * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE);
    use_own_stack();
    set(SIGSEGV, grow, SA_ONSTACK);
    depth = (int)wanted;
    run_fiber();
    told("grown", count);
}

static void fiber_overflow(long is_handled) {
    growing = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(growing, PAGE, PROT_NONE);
    if (is_handled) set(SIGSEGV, jump, SA_ONSTACK);
    depth = 1000000;
    if (!sigsetjmp(back, 1)) run_fiber();
    told("caught", count);
}

static void *overflow(void *unused) {
    recurse(1 << 30);
    return unused;
}

static void thread_overflow(long is_handled) {
    pthread_t thread;
    if (is_handled) set(SIGSEGV, jump, SA_ONSTACK);
    pthread_create(&thread, NULL, overflow, NULL);
    pthread_join(thread, NULL);
}

/* --- many threads at once --- */

static char *heap;

static void open_page(int number, siginfo_t *info, void *context) {
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    (void)context;
    if (page < heap || page >= heap + PAGES * PAGE) signal(number, SIG_DFL);
    else mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

static void *write_pages(void *first) {
    for (int round = 0; round < 100; round++)
        for (int i = (int)(intptr_t)first; i < PAGES; i += THREADS) {
            ((volatile char *)heap)[i * PAGE]++;
            mprotect(heap + i * PAGE, PAGE, PROT_READ);
        }
    return NULL;
}

static void *set_and_reset(void *unused) {
    for (int i = 0; i < 5000; i++) set(SIGFPE, tell, 0), signal(SIGFPE, SIG_DFL), signal(SIGBUS, SIG_IGN);
    return unused;
}

static void *fork_and_crash(void *unused) {
    for (int i = 0, status; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) signal(SIGSEGV, SIG_DFL), null();
        if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) say("wrong\n");
    }
    return unused;
}

/* Write barriers, actions that change, and forks, all at the same time. */
static void storm(long unused) {
    static void *(*const all[])(void *) = {write_pages, set_and_reset, fork_and_crash};
    pthread_t threads[3 * THREADS];
    int sum = 0;
    (void)unused;
    heap = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    set(SIGSEGV, open_page, SA_RESTART | SA_NODEFER);
    for (int i = 0; i < 3 * THREADS; i++)
        pthread_create(&threads[i], NULL, all[i < THREADS ? 0 : i < THREADS + 4 ? 1 : 2], (void *)(intptr_t)(i % THREADS));
    for (int i = 0; i < 3 * THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < PAGES; i++) sum += heap[i * PAGE];
    told("written", sum);
    null();
}

/* --- filters and dispatch --- */

static void *call(void *unused) {
    long result = syscall(SYS_getppid);
    told("call", result < 0 ? -errno : 0);
    return unused;
}

static void filter(uint32_t result, int in_thread) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, result),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog whole = {sizeof program / sizeof *program, program};
    pthread_t thread;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) _exit(DID_NOT_HAPPEN);
    if (!in_thread) call(NULL);
    else if (pthread_create(&thread, NULL, call, NULL) == 0) pthread_join(thread, NULL);
    null();
}

/* Each answer that a filter can give, in the main thread or, from 10 on, in another. */
static void filtered(long which) {
    static const uint32_t all[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                                   SECCOMP_RET_ERRNO | 77,   SECCOMP_RET_TRACE,       SECCOMP_RET_LOG};
    filter(all[which % 10], which >= 10);
}

#if defined(__x86_64__)
static char selector;

static void answer(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    selector = 0;
    count++;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 4242;
}

/* System calls come to the program as SIGSYS, those of its handler's as well. */
static void dispatched(long is_handled) {
    long result;
    if (is_handled) set(SIGSYS, answer, 0);
    if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector) != 0) _exit(DID_NOT_HAPPEN);
    selector = 1;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getppid) : "rcx", "r11", "memory");
    told("answer", result);
}

/* --- instructions --- */

static void instruction(long which) {
    switch (which) {
    case 0: __asm__ volatile("hlt"); break;
    case 1: __asm__ volatile("in $0x80, %%al" ::: "rax"); break;
    case 2: __asm__ volatile("int $4"); break;
    case 3: __asm__ volatile(".byte 0xf1"); break;
    case 4: __asm__ volatile(".byte 0xcd, 0x03"); break;
    case 5: ((void (*)(void))0x1234)(); break;
    case 6: __asm__ volatile("mov $0, %%rsp\n\tpush %%rax" ::: "memory"); break;
    case 7: __asm__ volatile("mov $-1, %%rsp\n\tint3" ::: "memory"); break;
    case 8: __asm__ volatile("mov $16, %%rsp\n\tud2" ::: "memory"); break;
    case 9: (void)*(volatile char *)0xffffffffff600400; break;
    case 10: __asm__ volatile("mov $1, %%eax\n\tmov %%eax, %%ss" ::: "rax"); break;
    case 11: __asm__ volatile("lock; .byte 0x89, 0xc0"); break;
    }
    told("went on", which);
}

static void instruction_caught(long which) {
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) set(crashes[i], jump, 0);
    int number = sigsetjmp(back, 1);
    if (number) told("caught", number);
    else instruction(which);
}
#endif

/* --- limits and timers --- */

static void nothing_allowed(long unused) {
    (void)unused;
    for (int limit = 0; limit < RLIM_NLIMITS; limit++)
        if (limit != RLIMIT_CPU && limit != RLIMIT_STACK) setrlimit(limit, &(struct rlimit){0, 0});
    null();
}

static void timed(long unused) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGSEGV};
    struct itimerspec soon = {{0, 2000000}, {0, 2000000}};
    timer_t timer;
    (void)unused;
    set(SIGSEGV, tell, 0);
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &soon, NULL);
    while (count < 10) pause();
    say("ticked\n");
    signal(SIGSEGV, SIG_DFL);
    for (;;) pause();
}

static void *wait_for_it(void *unused) {
    sigset_t one;
    int number = 0;
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    sigwait(&one, &number);
    told("waited", number);
    return unused;
}

/* A thread waits for the signal that all block; a real fault is deadly then. */
static void waited(long unused) {
    pthread_t thread;
    sigset_t one;
    (void)unused;
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    pthread_create(&thread, NULL, wait_for_it, NULL);
    kill(getpid(), SIGSEGV);
    pthread_join(thread, NULL);
    null();
}

/* Writes over all that it may write to but its own stack, ours among it. */
static void smashes(long unused) {
    static uintptr_t from[300], to[300];
    char line[512], rights[5];
    int found = 0;
    (void)unused;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && found < 300 && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &from[found], &to[found], rights) == 3 && rights[1] == 'w')
            found += !strstr(line, "[stack]") && !strstr(line, "corners");
    for (int i = 0; i < found; i++) memset((void *)from[i], 0xee, to[i] - from[i] > 1 << 22 ? 1 << 22 : to[i] - from[i]);
    null();
}

int main(int argc, char **argv) {
    static const struct part parts[] = {
        {"handler_frames", handler_frames}, {"many_frames", many_frames}, {"thread_frames", thread_frames}, {"by_handle", by_handle},
        {"strict_by_handle", strict_by_handle}, {"by_order", by_order}, {"interrupts", interrupts}, {"nodefer", nodefer},
        {"endless_on_own_stack", endless_on_own_stack}, {"tiny_stack", tiny_stack}, {"sees", sees},
        {"in_handler", in_handler}, {"leaves_by_context", leaves_by_context}, {"growing_fiber", growing_fiber},
        {"fiber_overflow", fiber_overflow}, {"thread_overflow", thread_overflow}, {"storm", storm}, {"filtered", filtered},
#if defined(__x86_64__)
        {"dispatched", dispatched}, {"instruction", instruction}, {"instruction_caught", instruction_caught},
#endif
        {"nothing_allowed", nothing_allowed}, {"timed", timed}, {"waited", waited}, {"smashes", smashes},
    };
    return run_part(parts, sizeof parts / sizeof *parts, argc, argv);
}
