/* Each thread of the victim gets a signal stack, and notes its id. Nothing is allocated for it: the heap is the
 * program's. What the victim forks is left as it would be without us. */
#include <errno.h>
#include <pthread.h>

#include "box/victim.h"
#include "preload/actions.h"
#include "preload/real.h"
#include "preload/stacks.h"
#include "preload/threads.h"

enum { STARTS = 512, DEFAULT_BYTES = 8 << 20 };

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* What a thread is to do, from its creation to its first step. */
struct start {
    int is_taken;
    void *(*body)(void *);
    void *argument;
    size_t stack_bytes;
};

static struct start starts[STARTS];

static struct start *take_start(void) {
    for (struct start *start = starts; start < starts + STARTS; start++)
        if (!__atomic_exchange_n(&start->is_taken, 1, __ATOMIC_ACQUIRE)) return start;
    return NULL;
}

static void give_back(struct start *start) { __atomic_store_n(&start->is_taken, 0, __ATOMIC_RELEASE); }

/* A thread may also end by pthread_exit(), or be cancelled. A key of its values would do too, but those are counted. */
static void *thread_main(void *argument) {
    struct start start = *(struct start *)argument;
    void *result;
    give_back(argument);
    note_thread();
    pthread_cleanup_push(give_stack_back, NULL);
    take_stack(start.stack_bytes);
    result = start.body(start.argument);
    pthread_cleanup_pop(1);
    return result;
}

static size_t stack_bytes_of(const pthread_attr_t *attributes) {
    size_t bytes;
    return attributes && pthread_attr_getstacksize(attributes, &bytes) == 0 ? bytes : DEFAULT_BYTES;
}

/* A thread that finds no room in the table starts without a signal stack. */
INTERPOSED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                              void *argument) {
    create_thread *next = (create_thread *)real(PTHREAD_CREATE);
    if (!next) return EAGAIN;
    struct start *start = armed_box() && is_victim() ? take_start() : NULL;
    if (!start) return next(thread, attributes, body, argument);
    start->body = body;
    start->argument = argument;
    start->stack_bytes = stack_bytes_of(attributes);
    int error = next(thread, attributes, thread_main, start);
    if (error) give_back(start);
    return error;
}

static void in_child(void) {
    step_aside();
    give_stack_back(NULL);
}

#if defined(__GLIBC__) /* its pthread_atfork() is this, with what a library without start files has not */
extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *library);

void follow_forks(void) { __register_atfork(NULL, NULL, in_child, NULL); }
#else
void follow_forks(void) { pthread_atfork(NULL, NULL, in_child); }
#endif
