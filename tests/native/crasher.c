/* crasher STEP...: a program that does what it is told, one step after the other. A step is a word with a number
 * ("exit:12"); "child", "thread" and "sigterm" apply to the step behind them. No library of ours is in it. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, MOST_MIB = 1024, DID_NOT_HAPPEN = 99 };

static const uintptr_t nowhere = 0x5ead00000000u;

#ifdef OWN_MALLOC /* never gives anything back, and knows nothing of refusals */
static char pool[4 * MIB];
static size_t used;
void *malloc(size_t bytes) {
    size_t at = used;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > sizeof pool - used) return NULL;
    used += bytes;
    return pool + at;
}
void free(void *memory) { (void)memory; }
void *calloc(size_t count, size_t bytes) { return malloc(count * bytes); }
void *realloc(void *memory, size_t bytes) {
    char *moved = malloc(bytes);
    for (size_t i = 0; moved && memory && i < bytes; i++) moved[i] = ((char *)memory)[i];
    return moved;
}
#endif

/* --- crashes --- */

static void null(long offset) { *(volatile char *)(uintptr_t)offset; }

static void wild(long unused) { (void)unused, null((long)nowhere); }

static char *page_with(int protection) {
    return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void write_protected(long unused) { (void)unused, *(volatile char *)page_with(PROT_READ) = 1; }

static void jump_to_data(long unused) {
    (void)unused;
    ((void (*)(void))page_with(PROT_READ | PROT_WRITE))();
}

static int recurse(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static void overflow(long unused) {
    (void)unused;
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_cur > 8 * MIB) limit.rlim_cur = 8 * MIB;
    setrlimit(RLIMIT_STACK, &limit);
    recurse(0);
}

static void *idle(void *unused) {
    for (;;) pause();
    return unused;
}

/* The allocator follows a pointer of ours while it holds its lock, which only threads make it take. */
static void heap_lock(long unused) {
    (void)unused;
    pthread_t thread;
    if (pthread_create(&thread, NULL, idle, NULL) != 0) return;
    void **volatile block = malloc(2000);
    void *volatile fence = malloc(16);
    free((void *)block);
    block[1] = (void *)nowhere;
    fence = malloc(4000);
    (void)fence;
}

static void double_free(long unused) {
    (void)unused;
    void *volatile block = malloc(24);
    free(block);
    free(block);
}

static void bus(long unused) {
    (void)unused;
    int fd = memfd_create("short", 0);
    if (ftruncate(fd, 4096) != 0) return;
    volatile char *mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (ftruncate(fd, 0) == 0) (void)*mapping;
}

static void call_abort(long unused) { (void)unused, abort(); }

/* --- memory --- */

static void *last; /* each block begins with the address of the one before */

static int take_one(void) {
    void *block = malloc(MIB);
    if (!block) return 0;
    memset(block, 1, MIB);
    *(void **)block = last;
    last = block;
    return 1;
}

static void fill(long mib) {
    for (long i = 0; i < mib && i < MOST_MIB; i++)
        if (!take_one()) _exit(DID_NOT_HAPPEN);
}

static void refuse(long unused) {
    (void)unused;
    for (long i = 0; take_one(); i++)
        if (i == MOST_MIB) _exit(DID_NOT_HAPPEN);
}

static void relieve(long unused) {
    (void)unused;
    while (last) {
        void *before = *(void **)last;
        free(last);
        last = before;
    }
}

/* --- what hides a crash from a handler --- */

static void block(long unused) {
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void ignore(long signal_number) { signal((int)signal_number, SIG_IGN); }

static void die_again(int signal_number) { signal(signal_number, SIG_DFL); }

static void replace(long signal_number) { signal((int)signal_number, die_again); }

static void no_stack(long unused) {
    (void)unused;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
}

/* --- the rest --- */

static void leave(long status) { _exit((int)status); }

static void close_fd(long fd) { close((int)fd); }

static void kill_self(long signal_number) { kill(getpid(), (int)signal_number); }

static void kill_parent(long signal_number) { kill(getppid(), (int)signal_number); }

static void wait_for_ever(long unused) { (void)unused, idle(NULL); }

static void *leave_thread(void *unused) {
    pthread_exit(unused);
    return NULL;
}

static void threads(long count) {
    pthread_t thread;
    for (long i = 0; i < count; i++)
        if (pthread_create(&thread, NULL, leave_thread, NULL) != 0 || pthread_join(thread, NULL) != 0)
            _exit(DID_NOT_HAPPEN);
}

static const struct {
    const char *name;
    void (*run)(long);
} steps[] = {
    {"null", null}, {"wild", wild}, {"write_protected", write_protected}, {"jump_to_data", jump_to_data},
    {"overflow", overflow}, {"heap_lock", heap_lock}, {"double_free", double_free}, {"bus", bus},
    {"abort", call_abort}, {"fill", fill}, {"refuse", refuse}, {"relieve", relieve}, {"block", block},
    {"ignore", ignore}, {"replace", replace}, {"no_stack", no_stack}, {"exit", leave}, {"close", close_fd},
    {"kill", kill_self}, {"kill_parent", kill_parent}, {"wait", wait_for_ever}, {"threads", threads},
};

static void perform(const char *text) {
    size_t length = strcspn(text, ":");
    long number = text[length] ? strtol(text + length + 1, NULL, 0) : 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (strlen(steps[i].name) == length && strncmp(steps[i].name, text, length) == 0) {
            steps[i].run(number);
            return;
        }
    fprintf(stderr, "no such step: %s\n", text);
    _exit(DID_NOT_HAPPEN);
}

static void in_child(const char *text) {
    pid_t child = fork();
    if (child == 0) {
        perform(text);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void *perform_in_thread(void *text) {
    perform(text);
    return NULL;
}

static void in_thread(const char *text) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, perform_in_thread, (void *)(uintptr_t)text) != 0) _exit(DID_NOT_HAPPEN);
    pthread_join(thread, NULL);
}

static const char *at_sigterm;

static void on_sigterm(int unused) { (void)unused, perform(at_sigterm); }

static void wait_for_sigterm(const char *text) {
    at_sigterm = text;
    signal(SIGTERM, on_sigterm);
    pause();
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        void (*wrap)(const char *) = NULL;
        if (strcmp(argv[i], "child") == 0) wrap = in_child;
        if (strcmp(argv[i], "thread") == 0) wrap = in_thread;
        if (strcmp(argv[i], "sigterm") == 0) wrap = wait_for_sigterm;
        if (!wrap)
            perform(argv[i]);
        else if (++i < argc)
            wrap(argv[i]);
    }
    return DID_NOT_HAPPEN;
}
