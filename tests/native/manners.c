/* manners WHAT [NUMBER]: a program that looks at itself, or dies in a way that is easily spoilt by whoever watches. What it
 * prints, and how it ends, must not depend on that. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CRASHES = 7, DID_NOT_HAPPEN = 99, KIB = 1024, SET_BYTES = 8 };

static const int crashes[CRASHES] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
static char *const nowhere = (char *)(uintptr_t)0x5ead00000000u;
static sigjmp_buf back;
extern char **environ;

static void say(const char *text) {
    if (write(STDOUT_FILENO, text, strlen(text)) < 0) _exit(DID_NOT_HAPPEN);
}

static void null(void) { *(volatile char *)NULL = 1; }

static void handle(int signal_number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signal_number, &action, NULL);
}

/* --- what it can see of itself --- */

static const char *name_of(sighandler_t handler) {
    return handler == SIG_DFL ? "default" : handler == SIG_IGN ? "ignored" : handler == SIG_HOLD ? "held" : "a handler";
}

static void look_at_actions(void) {
    for (int i = 0; i < CRASHES; i++) {
        struct sigaction old;
        sigset_t blocked;
        sigaction(crashes[i], NULL, &old);
        sigprocmask(SIG_BLOCK, NULL, &blocked);
        printf("%d %s %x %d %d, ", crashes[i], name_of(old.sa_handler), (unsigned)old.sa_flags,
               sigismember(&old.sa_mask, SIGINT), sigismember(&blocked, crashes[i]));
        printf("%s %s %s %s\n", name_of(signal(crashes[i], SIG_IGN)), name_of(ssignal(crashes[i], SIG_DFL)),
               name_of(sysv_signal(crashes[i], SIG_IGN)), name_of(sigset(crashes[i], SIG_DFL)));
    }
}

static void look_at_stack(void) {
    stack_t stack;
    sigaltstack(NULL, &stack);
    printf("stack %p %zu %d\n", stack.ss_sp, stack.ss_size, stack.ss_flags);
}

static void look_at_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(folder)) printf("fd %s\n", entry->d_name);
    closedir(folder);
}

static void look_at_environment(void) {
    char text[1 << 16];
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof text);
    close(fd);
    for (char **at = environ; *at; at++) puts(*at);
    for (ssize_t i = 0; i < length; i += (ssize_t)strlen(text + i) + 1)
        if (text[i]) printf("first %s\n", text + i);
}

static void *look_from_thread(void *unused) {
    look_at_stack();
    return unused;
}

static void look(long unused) {
    pthread_t thread;
    (void)unused;
    look_at_actions();
    look_at_stack();
    pthread_create(&thread, NULL, look_from_thread, NULL);
    pthread_join(thread, NULL);
    look_at_descriptors();
    look_at_environment();
}

/* --- faults that are survived, or are not --- */

static void serve_page(int unused) {
    (void)unused;
    mmap((void *)((uintptr_t)nowhere & ~4095ul), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void caught(long count) {
    handle(SIGSEGV, serve_page, 0);
    for (long i = 0; i < count; i++) {
        *(volatile char *)nowhere = 1;
        munmap(nowhere, 4096);
    }
    say("survived\n");
}

static void jump_back(int unused) { (void)unused, siglongjmp(back, 1); }

static void left(long count) {
    handle(SIGSEGV, jump_back, SA_NODEFER);
    for (volatile long i = 0; i < count; i++)
        if (sigsetjmp(back, 1) == 0) null();
    say("survived\n");
}

static void then_abort(long count) {
    left(count);
    abort();
}

static void raise_again(int signal_number) {
    say("reported\n");
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void report(long unused) {
    (void)unused;
    handle(SIGSEGV, raise_again, 0);
    null();
}

static void report_by_abort(int unused) {
    (void)unused;
    say("reported\n");
    abort();
}

static void aborts(long unused) {
    (void)unused;
    handle(SIGSEGV, report_by_abort, 0);
    null();
}

static void tell_once(int signal_number) {
    struct sigaction now;
    sigaction(signal_number, NULL, &now);
    say(now.sa_handler == SIG_DFL ? "once, and default again\n" : "not default\n");
}

/* The kernel's own answer follows, for the second fault. */
static void once(long unused) {
    (void)unused;
    handle(SIGSEGV, tell_once, SA_RESETHAND);
    null();
}

static volatile int is_going;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *heal(void *nanoseconds) {
    while (!is_going) continue;
    for (uint64_t end = now_ns() + *(uint64_t *)nanoseconds; now_ns() < end;) continue;
    serve_page(0);
    pause();
    return NULL;
}

/* Another thread maps the page when the fault is on its way already. */
static void healed(long nanoseconds) {
    pthread_t thread;
    uint64_t delay = (uint64_t)nanoseconds;
    pthread_create(&thread, NULL, heal, &delay);
    is_going = 1;
    *(volatile char *)nowhere = 1;
    say("survived\n");
}

/* --- faults and traps of other kinds --- */

static void breakpoint(long unused) {
    (void)unused;
#if defined(__x86_64__)
    __asm__ volatile("int3");
#else
    __asm__ volatile("brk 0");
#endif
}

static void undefined(long unused) { (void)unused, __builtin_trap(); }

static void step(long unused) {
    (void)unused;
#if defined(__x86_64__)
    __asm__ volatile("pushf\n\torl $0x100, (%%rsp)\n\tpopf\n\tnop\n\tnop" : : : "memory", "cc");
#else
    raise(SIGTRAP);
#endif
}

static void misaligned(long unused) {
    (void)unused;
    char bytes[16] = {0};
#if defined(__x86_64__)
    __asm__ volatile("pushf\n\torl $0x40000, (%%rsp)\n\tpopf\n\tmovl (%0), %%eax" : : "r"(bytes + 1) : "memory", "cc", "eax");
#else
    (void)bytes, raise(SIGBUS);
#endif
}

/* --- filters --- */

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void filter(uint32_t answer) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_exit), ALLOW(SYS_exit_group), ALLOW(SYS_rt_sigreturn), ALLOW(SYS_futex),
        BPF_STMT(BPF_RET | BPF_K, answer),
    };
    struct sock_fprog whole = {sizeof program / sizeof *program, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) _exit(DID_NOT_HAPPEN);
}

static void refused(long unused) { (void)unused, filter(SECCOMP_RET_ERRNO | EPERM), null(); }

static void killed(long unused) { (void)unused, filter(SECCOMP_RET_KILL_PROCESS), null(); }

static void trapped(long unused) { (void)unused, filter(SECCOMP_RET_TRAP), syscall(SYS_getppid), say("went on\n"); }

static void refused_trap(long unused) { (void)unused, filter(SECCOMP_RET_ERRNO | EPERM), breakpoint(0); }

static void strict(long unused) {
    (void)unused;
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    null();
}

/* --- signal stacks --- */

static long need;

static void use_stack(int unused) {
    (void)unused;
    volatile char *memory = __builtin_alloca((size_t)need * KIB);
    memset((char *)memory, 1, (size_t)need * KIB);
}

static void *raise_there(void *unused) {
    raise(SIGUSR1);
    return unused;
}

static void deep(long kib) {
    pthread_t thread;
    need = kib;
    handle(SIGUSR1, use_stack, SA_ONSTACK);
    raise_there(NULL);
    pthread_create(&thread, NULL, raise_there, NULL);
    pthread_join(thread, NULL);
    say("fine\n");
}

static void tell(int unused) {
    (void)unused;
    say("handled\n");
    _exit(3);
}

static int recurse(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static void overflow_here(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_cur > 8192 * KIB) limit.rlim_cur = 8192 * KIB;
    setrlimit(RLIMIT_STACK, &limit);
    recurse(0);
}

/* Without a stack of its own the handler has no room, whatever it asks for. */
static void overflow(long unused) {
    (void)unused;
    handle(SIGSEGV, tell, SA_ONSTACK);
    overflow_here();
}

static void own_stack(long unused) {
    static char memory[64 * KIB];
    stack_t own = {.ss_sp = memory, .ss_size = sizeof memory}, none = {.ss_flags = SS_DISABLE}, old;
    (void)unused;
    sigaltstack(&own, &old);
    printf("%d ", old.ss_flags);
    sigaltstack(&none, &old);
    printf("%d ", old.ss_sp == memory);
    sigaltstack(&none, &old);
    printf("%d\n", old.ss_flags);
    fflush(stdout);
    sigaltstack(&own, NULL);
    handle(SIGSEGV, tell, SA_ONSTACK);
    overflow_here();
}

/* --- children --- */

static void child(long unused) {
    (void)unused;
    pid_t pid = fork();
    if (pid == 0) null();
    int status;
    waitpid(pid, &status, 0);
    printf("child %d\n", status & 127);
    pid = vfork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_IGN);
        signal(SIGSEGV, SIG_DFL);
        null();
    }
    waitpid(pid, &status, 0);
    printf("child %d, %s\n", status & 127, name_of(signal(SIGSEGV, SIG_DFL)));
}

/* Past the C library, so that nobody who stands in front of it knows. */
static void past_library(long unused) {
    struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } action = {0};
    (void)unused;
    __asm__ volatile("" ::: "memory");
#if defined(__x86_64__)
    long result;
    register long size __asm__("r10") = SET_BYTES;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_rt_sigaction), "D"(SIGSEGV), "S"(&action), "d"(0), "r"(size) : "rcx", "r11", "memory");
#endif
    null();
}

static const struct {
    const char *name;
    void (*run)(long);
} all[] = {
    {"look", look}, {"caught", caught}, {"left", left}, {"then_abort", then_abort}, {"report", report}, {"aborts", aborts},
    {"once", once}, {"healed", healed}, {"breakpoint", breakpoint}, {"undefined", undefined}, {"step", step},
    {"misaligned", misaligned}, {"refused", refused}, {"killed", killed}, {"trapped", trapped},
    {"refused_trap", refused_trap}, {"strict", strict}, {"deep", deep}, {"overflow", overflow}, {"own_stack", own_stack},
    {"child", child}, {"past_library", past_library},
};

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, argv[1]) != 0) continue;
        all[i].run(argc > 2 ? strtol(argv[2], NULL, 0) : 0);
        return 0;
    }
    return DID_NOT_HAPPEN;
}
