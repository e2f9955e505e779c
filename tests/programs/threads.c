/* threads WHAT [NUMBER]: programs of many threads, of small stacks, and of stacks that are no thread's. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "named.h"

enum { SMALL_STACK = 16384 };

static pthread_barrier_t barrier;

static void *stand(void *unused) {
    pthread_barrier_wait(&barrier);
    return unused;
}

static void threads(long number) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_barrier_init(&barrier, NULL, (unsigned)number + 1);
    for (long i = 0; i < number; i++) {
        pthread_t thread;
        int error = pthread_create(&thread, &attributes, stand, NULL);
        if (error) printf("thread %ld: %s\n", i, strerror(error)), fflush(stdout), _exit(3);
    }
    pthread_barrier_wait(&barrier);
    puts("all");
    fflush(stdout);
    _exit(0);
}

static void *look_at_stack(void *unused) {
    pthread_attr_t attributes;
    size_t bytes, guard;
    void *start;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &start, &bytes);
    pthread_attr_getguardsize(&attributes, &guard);
    stack_t other;
    sigaltstack(NULL, &other);
    printf("%zu %zu %d\n", bytes, guard, other.ss_flags);
    return unused;
}

static void stacks(long unused) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)unused;
    for (size_t bytes = SMALL_STACK; bytes <= 1 << 20; bytes *= 8) {
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, bytes);
        pthread_create(&thread, &attributes, look_at_stack, NULL);
        pthread_join(thread, NULL);
    }
}

static void *crash_there(void *unused) {
    null();
    return unused;
}

/* With the smallest stack there is. */
static void small_thread(long unused) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)unused;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK);
    pthread_create(&thread, &attributes, crash_there, NULL);
    pthread_join(thread, NULL);
}

static void *execute_there(void *unused) {
    execl("/bin/echo", "echo", "from a thread", (char *)NULL);
    return unused;
}

static void thread_executes(long bytes) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)bytes);
    pthread_create(&thread, &attributes, execute_there, NULL);
    pthread_join(thread, NULL);
}

static void *start_there(void *unused) {
    int status = 0;
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/echo", "echo", "child", (char *)NULL);
        _exit(1);
    }
    waitpid(child, &status, 0);
    printf("%x\n", status);
    return unused;
}

static void thread_starts(long bytes) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)bytes);
    pthread_create(&thread, &attributes, start_there, NULL);
    pthread_join(thread, NULL);
}

static ucontext_t here, there;

static void overflow_there(void) {
    puts("on another stack");
    fflush(stdout);
    null();
}

static void coroutine(long unused) {
    static char stack[1 << 16];
    (void)unused;
    getcontext(&there);
    there.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    there.uc_link = &here;
    makecontext(&there, overflow_there, 0);
    swapcontext(&here, &there);
}

static const struct part all[] = {
    {"many", threads}, {"stacks", stacks}, {"small_thread", small_thread}, {"thread_executes", thread_executes},
    {"thread_starts", thread_starts}, {"coroutine", coroutine},
};

int main(int argc, char **argv) { return run_part(all, sizeof all / sizeof *all, argc, argv); }
