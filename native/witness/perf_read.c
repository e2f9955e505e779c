/* A fault event that no completion of the same thread follows is one that the kernel could not serve: it sent a signal
 * instead. Which, and with which code, only the delivery knows. */
#include <signal.h>
#include <stdlib.h>

#include "box/chain.h"
#include "box/victim.h"
#include "witness/perf.h"
#include "witness/witness.h"

struct story {
    struct sample *samples;
    int count;
};

/* The next event of the same thread behind `at`, or NULL. */
static const struct sample *next_of(const struct story *story, const struct sample *at) {
    for (const struct sample *next = at + 1; next < story->samples + story->count; next++)
        if (next->thread == at->thread) return next;
    return NULL;
}

static int is_served(const struct sample *next) {
    return next && (next->event == SERVED_AT_ONCE || next->event == SERVED_LATER);
}

static int is_crash_signal(int number) {
    for (int i = 0; i < CRASH_SIGNALS; i++)
        if (crash_signals[i] == number) return 1;
    return 0;
}

/* Whether the signal is one that an unserved fault gives. A thread may also have been killed in the middle of a fault,
 * which then ended nothing. */
static int is_faults(int deadly) { return deadly == SIGSEGV || deadly == SIGBUS; }

static int is_page_faults(const struct sample *delivery) {
    return delivery->code > 0 && is_faults(delivery->signal);
}

/* A crash from a page fault whose delivery was not seen. Its code could be one of two, and is not guessed. */
static struct crash unserved(const struct sample *fault, int deadly) {
    return (struct crash){
        .signal = deadly == SIGBUS ? SIGBUS : SIGSEGV,
        .flags = NO_CODE,
        .address = fault->address,
        .program_counter = fault->program_counter,
        .stack_pointer = fault->stack_pointer,
        .thread = (int32_t)fault->thread,
    };
}

/* The kernel gives these the address of the instruction, and a general protection fault none. */
static struct crash delivered(const struct sample *delivery) {
    int is_instructions = delivery->signal == SIGILL || delivery->signal == SIGFPE;
    int has_address = delivery->code > 0 && (is_instructions || delivery->code == SI_KERNEL);
    return (struct crash){
        .signal = delivery->signal,
        .code = delivery->code,
        .flags = has_address ? 0 : NO_ADDRESS,
        .address = is_instructions ? delivery->program_counter : 0,
        .program_counter = delivery->program_counter,
        .stack_pointer = delivery->stack_pointer,
        .thread = (int32_t)delivery->thread,
    };
}

static void tell(const struct mappings *mappings, struct box *page, struct crash crash) {
    perf_place(mappings, &crash);
    chain_add(page, crash, (struct writer){0});
}

/* A delivery that belongs to a page fault is told with it. */
static void tell_all(const struct story *story, const struct mappings *mappings, int deadly, struct box *page) {
    const struct sample *told = NULL;
    for (const struct sample *at = story->samples; at < story->samples + story->count; at++) {
        const struct sample *next = at->event == FAULT ? next_of(story, at) : NULL;
        if (at->event == FAULT && !is_served(next) && (next || is_faults(deadly))) {
            struct crash crash = unserved(at, deadly);
            if (next && next->event == DELIVERY && is_page_faults(next)) {
                told = next;
                crash.signal = next->signal;
                crash.code = next->code;
                crash.flags = 0;
            }
            tell(mappings, page, crash);
        }
        if (at->event == DELIVERY && at != told && is_crash_signal(at->signal)) tell(mappings, page, delivered(at));
    }
}

void perf_read(struct perf *perf, pid_t victim, int deadly, struct box *page) {
    struct mappings mappings = perf_mappings(perf, victim);
    struct story story = {0};
    story.count = perf_samples(perf, victim, mappings.last_exec, &story.samples);
    tell_all(&story, &mappings, deadly, page);
    free(story.samples);
    free(mappings.all);
}
