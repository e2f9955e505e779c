/* The crash record: an async-signal-safe handler that writes one fixed record into the shared box. */
#include "box/blackbox.h"

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

#include "faults/family.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an older kernel refuses it, and the handler faults its pages in */
#endif

enum { BOX_BYTES = 4096, SIGNAL_STACK_BYTES = 65536, HANDLER_BYTES = 16384, PATIENCE = 10000 };

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

static struct box *box;
static pid_t *victim; /* a forked child inherits handler and mapping, but has no business in the box */
static pthread_key_t stack_key;

struct box *armed_box(void) { return box; }

int is_victim(void) { return victim && *victim == getpid(); }

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
        .process = (int32_t)*victim,
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

/* A victim may have alignment checks on, and the handler inherits them. */
static void allow_misalignment(void) {
#if defined(__x86_64__)
    __asm__ volatile("pushf\n\tandl $0xfffbffff, (%%rsp)\n\tpopf" : : : "memory", "cc");
#endif
}

/* Dies of the original siginfo. Returning to fault again would not do: another thread may have mapped the
 * page by then, and raise() would rewrite the siginfo. The signal is blocked here and strikes on return. */
static void on_crash(int signal_number, siginfo_t *info, void *context) {
    allow_misalignment();
    if (is_victim()) record(info, context);
    signal(signal_number, SIG_DFL);
    syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal_number, info);
}

/* Pre-faulted: under memory pressure a handler can't wait for a page. NULL when refused. */
static void *set_signal_stack(int sharing) {
    int flags = sharing | MAP_ANONYMOUS | MAP_POPULATE;
    void *memory = mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    stack_t stack = {.ss_sp = memory, .ss_size = SIGNAL_STACK_BYTES};
    sigaltstack(&stack, NULL);
    return memory;
}

static void *own_signal_stack(void) { return set_signal_stack(MAP_PRIVATE); }

/* The program may have set up a stack of its own meanwhile: that is not ours to take away. */
static void free_signal_stack(void *memory) {
    stack_t current, none = {.ss_flags = SS_DISABLE};
    if (sigaltstack(NULL, &current) == 0 && current.ss_sp == memory) sigaltstack(&none, NULL);
    munmap(memory, SIGNAL_STACK_BYTES);
}

/* A signal that is ignored, or that someone else handles, stays so: a program is not to die of being watched. */
static void install_handler(int signal_number) {
    struct sigaction current, action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    if (sigaction(signal_number, NULL, &current) == 0 && current.sa_handler == SIG_DFL)
        sigaction(signal_number, &action, NULL);
}

/* On a page that a fork wipes: a child in a PID namespace of its own may have the victim's number. */
static pid_t *note_pid(void) {
    pid_t *note = mmap(NULL, sizeof *note, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED) return NULL;
    madvise(note, sizeof *note, MADV_WIPEONFORK);
    *note = getpid();
    return note;
}

static struct box *map_box(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != BOX_BYTES) return NULL;
    struct box *page = mmap(NULL, BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (page == MAP_FAILED) return NULL;
    if (page->magic == BOX_MAGIC) return page;
    munmap(page, BOX_BYTES);
    return NULL;
}

int arm(int fd) {
    struct box *page = map_box(fd);
    if (!page) return BAD_BOX;
    victim = note_pid();
    if (!victim || pthread_key_create(&stack_key, free_signal_stack) != 0 || !own_signal_stack()) {
        munmap(page, BOX_BYTES);
        return BAD_BOX;
    }
    box = page;
    for (size_t i = 0; i < sizeof crash_signals / sizeof crash_signals[0]; i++) install_handler(crash_signals[i]);
    box->armed = box->counts_allocations = 1;
    return 0;
}

int share_signal_stack(void) {
    stack_t own;
    if (sigaltstack(NULL, &own) != 0 || !set_signal_stack(MAP_SHARED)) return -1;
    return munmap(own.ss_sp, own.ss_size);
}

/* Where memory is short the handler must find its pages mapped; elsewhere that costs more than it saves. */
void rearm(void) {
    *victim = getpid();
    stack_t stack;
    if (!box->memory_limited || sigaltstack(NULL, &stack) != 0) return;
    madvise((char *)stack.ss_sp + stack.ss_size - HANDLER_BYTES, HANDLER_BYTES, MADV_POPULATE_WRITE);
}

void allocation_refused(void) {
    if (box && is_victim()) __atomic_add_fetch(&box->allocation_failures, 1, __ATOMIC_RELAXED);
}

struct start {
    void *(*body)(void *);
    void *argument;
};

/* The stack is freed by its key's destructor, since a thread may end in pthread_exit() or be cancelled. */
static void *thread_main(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    pthread_setspecific(stack_key, own_signal_stack());
    return start.body(start.argument);
}

int create_recorded(create_thread *create, pthread_t *thread, const pthread_attr_t *attributes,
                    void *(*body)(void *), void *argument) {
    struct start *start = malloc(sizeof *start);
    if (!start) return EAGAIN;
    *start = (struct start){body, argument};
    int error = create(thread, attributes, thread_main, start);
    if (error) free(start);
    return error;
}

int start_thread(pthread_t *thread, void *(*body)(void *), void *argument) {
    return create_recorded(pthread_create, thread, NULL, body, argument);
}
