/* The crash record: an async-signal-safe handler that writes one fixed record into the shared box. */
#include "blackbox.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "family.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an older kernel refuses it, and the handler faults its pages in */
#endif

enum { BOX_BYTES = 4096, SIGNAL_STACK_BYTES = 65536, PATIENCE = 10000 };

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

static struct box *box;
static pid_t victim; /* a forked child inherits the handler, but has no business in the box */

struct box *armed_box(void) { return box; }

int box_size(void) { return (int)sizeof(struct box); }

static uint32_t crc32_of(const void *data, size_t size) {
    const unsigned char *byte = data;
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void read_registers(struct crash *crash, const ucontext_t *context) {
#if defined(__x86_64__)
    crash->program_counter = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    crash->stack_pointer = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    crash->program_counter = context->uc_mcontext.pc;
    crash->stack_pointer = context->uc_mcontext.sp;
#else
    (void)crash, (void)context;
#endif
}

static void write_record(const siginfo_t *info, const ucontext_t *context) {
    struct crash crash = {
        .signal = info->si_signo,
        .code = info->si_code,
        .thread = (int32_t)syscall(SYS_gettid),
        .process = (int32_t)victim,
    };
    if (info->si_code <= 0)
        crash.sender = (int32_t)info->si_pid; /* si_addr shares its place with si_pid */
    else
        crash.address = (uint64_t)(uintptr_t)info->si_addr;
    read_registers(&crash, context);
    box->crash = crash;
    box->checksum = crc32_of(&box->crash, sizeof box->crash);
    __atomic_store_n(&box->commit, BOX_MAGIC, __ATOMIC_RELEASE);
}

/* The first thread to crash writes; another waits for it, since its own death would end both. */
static void record(const siginfo_t *info, const ucontext_t *context) {
    uint32_t free_claim = 0;
    if (__atomic_compare_exchange_n(&box->claim, &free_claim, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        write_record(info, context);
        return;
    }
    for (int turn = 0; turn < PATIENCE; turn++) {
        if (__atomic_load_n(&box->commit, __ATOMIC_ACQUIRE)) return;
        sched_yield();
    }
}

/* Dies of the original siginfo. Returning to fault again would not do: another thread may have mapped the
 * page by then, and raise() would rewrite the siginfo. The signal is blocked here and strikes on return. */
static void on_crash(int signal_number, siginfo_t *info, void *context) {
    int saved = errno;
    if (getpid() == victim) record(info, context);
    signal(signal_number, SIG_DFL);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal_number, info);
    errno = saved;
}

/* Pre-faulted: under memory pressure a handler can't wait for a page. NULL when refused. */
static void *own_signal_stack(void) {
    void *memory = mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    stack_t stack = {.ss_sp = memory, .ss_size = SIGNAL_STACK_BYTES};
    sigaltstack(&stack, NULL);
    return memory;
}

static void install_handlers(void) {
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof crash_signals / sizeof crash_signals[0]; i++)
        sigaction(crash_signals[i], &action, NULL);
}

int arm(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != BOX_BYTES) return BAD_BOX;
    struct box *page = mmap(NULL, BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (page == MAP_FAILED) return BAD_BOX;
    if (page->magic != BOX_MAGIC || own_signal_stack() == NULL) {
        munmap(page, BOX_BYTES);
        return BAD_BOX;
    }
    victim = getpid();
    box = page;
    install_handlers();
    return 0;
}

/* Where memory is short the handler must find its pages, the copies of a fork included; elsewhere a fault costs less
 * than copying what is not used. */
void rearm(void) {
    victim = getpid();
    if (!box->memory_limited) return;
    stack_t stack;
    if (sigaltstack(NULL, &stack) == 0) madvise(stack.ss_sp, stack.ss_size, MADV_POPULATE_WRITE);
}

void allocation_refused(void) {
    if (box) __atomic_add_fetch(&box->allocation_failures, 1, __ATOMIC_RELAXED);
}

struct start {
    void *(*body)(void *);
    void *argument;
};

static void *thread_main(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    void *stack = own_signal_stack();
    void *answer = start.body(start.argument);
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    if (stack) munmap(stack, SIGNAL_STACK_BYTES);
    return answer;
}

int start_thread(pthread_t *thread, void *(*body)(void *), void *argument) {
    struct start *start = malloc(sizeof *start);
    if (!start) return ENOMEM;
    *start = (struct start){body, argument};
    int error = pthread_create(thread, NULL, thread_main, start);
    if (error) free(start);
    return error;
}
