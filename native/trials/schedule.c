/* libcrashschedule.so: delays and yields, drawn from a seed, where a program synchronises: another order of its threads
 * than the usual one, so that a race that lies between two such calls strikes more often.
 *
 * Nothing happens in a process that has one thread only. What meets by atomic operations alone is out of reach. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default")))

enum { SHORTEST_BITS = 10, LONGEST_BITS = 20 }; /* of a delay in nanoseconds: about 1 microsecond to 1 millisecond */

static uint64_t seed, trial;
static int is_asked, has_trial, has_threads;
static uint32_t threads;
static __thread uint64_t state;

/* --- draws --- */

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static uint64_t draw(void) { return mix(state += 0x9e3779b97f4a7c15u); }

/* Each process has a seed of its own: by its trial's number, or by its pid where it has no trial. */
static uint64_t seed_of_process(void) { return mix(seed ^ mix(has_trial ? trial : (uint64_t)getpid() << 32)); }

static void begin_thread(uint32_t number) { state = mix(seed_of_process() + number) | 1; }

/* --- perturbing --- */

static void sleep_for(uint64_t nanoseconds) {
    struct timespec span = {.tv_sec = 0, .tv_nsec = (long)nanoseconds};
    nanosleep(&span, NULL);
}

/* Does nothing one time in four, yields one time in four, and otherwise delays; the delay's order of magnitude is drawn. */
static void perturb(void) {
    if (!has_threads) return;
    int error = errno;
    if (!state) begin_thread(0);
    uint64_t drawn = draw();
    if ((drawn & 3) == 1) sched_yield();
    if (drawn & 2) sleep_for((drawn >> 8) % (1u << (SHORTEST_BITS + (drawn >> 2) % (LONGEST_BITS - SHORTEST_BITS + 1))));
    errno = error;
}

/* Half of the processes have one processor only: there a thread runs until it waits. */
static void pin(void) {
    cpu_set_t allowed, one;
    if (!(seed_of_process() & 1) || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    CPU_ZERO(&one);
    for (int processor = 0; processor < CPU_SETSIZE; processor++) {
        if (!CPU_ISSET(processor, &allowed)) continue;
        CPU_SET(processor, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

/* --- what is interposed --- */

static void *behind(const char *name, void **found) {
    void *function = __atomic_load_n(found, __ATOMIC_RELAXED);
    if (function) return function;
    function = dlsym(RTLD_NEXT, name);
    __atomic_store_n(found, function, __ATOMIC_RELAXED);
    return function;
}
#define BEHIND(name)                              \
    ({                                            \
        static void *found;                       \
        (__typeof__(&name))behind(#name, &found); \
    })

struct start {
    void *(*body)(void *);
    void *argument;
    uint32_t number;
};

static void *enter_thread(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    begin_thread(start.number);
    perturb();
    return start.body(start.argument);
}

INTERPOSED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                              void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = BEHIND(pthread_create);
    struct start *start = is_asked ? malloc(sizeof *start) : NULL;
    if (!start) return next(thread, attributes, body, argument);
    if (!has_threads) pin();
    has_threads = 1;
    *start = (struct start){body, argument, __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED)};
    int error = next(thread, attributes, enter_thread, start);
    if (error) free(start);
    return error;
}

/* Perturbs before a call that may wait, and after one that lets others go on: there lies the window between a check and its
 * use. */
#define BEFORE(name, type, PARAMETERS, ...)  \
    INTERPOSED type name PARAMETERS {        \
        perturb();                           \
        return BEHIND(name)(__VA_ARGS__);    \
    }
#define AFTER(name, type, PARAMETERS, ...)         \
    INTERPOSED type name PARAMETERS {              \
        type answer = BEHIND(name)(__VA_ARGS__);   \
        perturb();                                 \
        return answer;                             \
    }

BEFORE(pthread_mutex_lock, int, (pthread_mutex_t *mutex), mutex)
BEFORE(pthread_mutex_trylock, int, (pthread_mutex_t *mutex), mutex)
AFTER(pthread_mutex_unlock, int, (pthread_mutex_t *mutex), mutex)
BEFORE(pthread_rwlock_rdlock, int, (pthread_rwlock_t *lock), lock)
BEFORE(pthread_rwlock_wrlock, int, (pthread_rwlock_t *lock), lock)
AFTER(pthread_rwlock_unlock, int, (pthread_rwlock_t *lock), lock)
AFTER(pthread_cond_wait, int, (pthread_cond_t *condition, pthread_mutex_t *mutex), condition, mutex)
AFTER(pthread_cond_signal, int, (pthread_cond_t *condition), condition)
AFTER(pthread_cond_broadcast, int, (pthread_cond_t *condition), condition)
BEFORE(sem_wait, int, (sem_t *semaphore), semaphore)
AFTER(sem_post, int, (sem_t *semaphore), semaphore)

/* Reads the variable, which is SEED or SEED:TRIAL. */
__attribute__((constructor)) static void begin(void) {
    char *text = getenv("CRASH_SCHEDULE"), *rest = text;
    is_asked = text != NULL;
    if (text) seed = strtoull(text, &rest, 10);
    has_trial = rest && *rest == ':';
    if (has_trial) trial = strtoull(rest + 1, NULL, 10);
}
