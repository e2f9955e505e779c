/* A process that carries the faults: it arms itself, and gives each of its threads a signal stack. */
#include "box/arming.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "box/death.h"
#include "box/machine.h"
#include "box/victim.h"
#include "faults/family.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an older kernel refuses it, and the handler faults its pages in */
#endif

enum { SIGNAL_STACK_BYTES = 65536, HANDLER_BYTES = 16384 };

static pthread_key_t stack_key;


/* Maps a stack whose pages are there already: under memory pressure a handler can't wait for one. Returns NULL when it is
 * refused. */
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
    struct sigaction current, action = deadly_action();
    if (sigaction(signal_number, NULL, &current) == 0 && current.sa_handler == SIG_DFL)
        sigaction(signal_number, &action, NULL);
}

static struct sigaction behind[CRASH_SIGNALS];

/* The handler that was there before is put back, and gets the same signal when this one returns. */
static void record_and_hand_on(int signal_number, siginfo_t *info, void *context) {
    allow_misalignment();
    if (is_victim()) chain_record(armed_box(), info, context, writer_here(), NULL);
    for (int i = 0; i < CRASH_SIGNALS; i++)
        if (crash_signals[i] == signal_number) sigaction(signal_number, &behind[i], NULL);
    die_of(signal_number, info, context);
}

/* A fork of a process that was armed so stands in front already: what is behind it is not its own handler. */
static void install_in_front(int place) {
    struct sigaction current, action = deadly_action();
    action.sa_sigaction = record_and_hand_on;
    if (sigaction(crash_signals[place], NULL, &current) != 0 || current.sa_handler == SIG_IGN) return;
    if (current.sa_sigaction == record_and_hand_on) return;
    behind[place] = current;
    sigaction(crash_signals[place], &action, NULL);
}

static int become_victim(int fd) {
    struct box *page = map_box(fd);
    if (!page) return BAD_BOX;
    if (pthread_key_create(&stack_key, free_signal_stack) != 0 || !own_signal_stack() || adopt_box(page) != 0) {
        munmap(page, BOX_BYTES);
        return BAD_BOX;
    }
    page->armed = page->counts_allocations = 1;
    return 0;
}

int arm(int fd) {
    if (become_victim(fd) != 0) return BAD_BOX;
    for (int i = 0; i < CRASH_SIGNALS; i++) install_handler(crash_signals[i]);
    return 0;
}

int arm_in_front(int fd) {
    if (become_victim(fd) != 0) return BAD_BOX;
    for (int i = 0; i < CRASH_SIGNALS; i++) install_in_front(i);
    return 0;
}

int share_signal_stack(void) {
    stack_t own;
    if (sigaltstack(NULL, &own) != 0 || !set_signal_stack(MAP_SHARED)) return -1;
    return munmap(own.ss_sp, own.ss_size);
}

/* Where memory is short the handler must find its pages mapped; elsewhere that costs more than it saves. */
void rearm(void) {
    renew_victim();
    stack_t stack;
    if (!armed_box()->memory_limited || sigaltstack(NULL, &stack) != 0) return;
    madvise((char *)stack.ss_sp + stack.ss_size - HANDLER_BYTES, HANDLER_BYTES, MADV_POPULATE_WRITE);
}

void allocation_refused(void) {
    if (armed_box() && is_victim()) __atomic_add_fetch(&armed_box()->allocation_failures, 1, __ATOMIC_RELAXED);
}

struct start {
    void *(*body)(void *);
    void *argument;
};

/* The stack is freed by its key's destructor, since a thread may end in pthread_exit() or be cancelled. */
static void *thread_main(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    note_thread();
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
