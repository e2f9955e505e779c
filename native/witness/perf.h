#pragma once
/* Page faults that the kernel could not serve, by perf events: nothing changes in the victim, and whatever it is made of,
 * it is seen. */
#include <stdint.h>
#include <sys/types.h>

#include "box/page.h"

struct perf_event_mmap_page;

enum event { FAULT, SERVED_AT_ONCE, SERVED_LATER, DELIVERY, EVENTS };

/* What one processor has written. */
struct ring {
    struct perf_event_mmap_page *page;
    char *bytes;
    uint64_t size;
};

struct processor {
    struct ring samples, maps;
    uint64_t ids[EVENTS]; /* 0: no such event */
};

struct perf {
    int processors;
    int sees_deliveries;
    struct processor processor[];
};

/* A fault, its completion, or a signal as it was delivered. */
struct sample {
    uint64_t time, program_counter, stack_pointer, address;
    uint32_t process, thread;
    enum event event;
    int32_t signal, code; /* of a delivery */
};

/* A file that was mapped to be executed. */
struct mapping {
    uint64_t start, end, offset, time;
    char name[MODULE_BYTES];
};

struct mappings {
    uint64_t last_exec;
    int count;
    struct mapping *all;
};

/* Watches the threads of `victim` from its next exec on. Returns NULL if it can't, and the page says why. */
struct perf *perf_open(pid_t victim, struct box *page);

/* Tells what was seen. `deadly`: the signal that ended the victim, or 0. */
void perf_read(struct perf *perf, pid_t victim, int deadly, struct box *page);

/* Copies `bytes` from a ring, in which they may be in two pieces. */
void ring_copy(const struct ring *ring, uint64_t at, void *memory, size_t bytes);

/* Gathers all samples of the victim's present program, in the order of time, in memory of their own. Returns their
 * number. */
int perf_samples(const struct perf *perf, pid_t victim, uint64_t since, struct sample **samples);

/* What the victim's present program has mapped, and when it was executed. */
struct mappings perf_mappings(const struct perf *perf, pid_t victim);

/* Fills in module and offset. */
void perf_place(const struct mappings *mappings, struct crash *crash);
