#include <linux/perf_event.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "witness/perf.h"

enum { RECORD_BYTES = 1024, LEAST_BYTES = 64 }; /* of a sample */

/* A sample as the kernel writes it for what perf_open() asks for; a delivery has its raw part before the registers. */
struct written {
    struct perf_event_header header;
    uint64_t id;
    uint32_t process, thread;
    uint64_t time, address;
    char rest[];
};

/* The tracepoint's raw part, behind its size: eight common bytes, then these. */
struct delivered {
    uint32_t size;
    char common[8];
    int32_t signal, error, code;
    uint32_t handler[2];
} __attribute__((packed));

struct registers {
    uint64_t kind, stack_pointer, program_counter; /* kind 0: there are none */
};

void ring_copy(const struct ring *ring, uint64_t at, void *memory, size_t bytes) {
    size_t start = at % ring->size, first = ring->size - start < bytes ? ring->size - start : bytes;
    memcpy(memory, ring->bytes + start, first);
    memcpy((char *)memory + first, ring->bytes, bytes - first);
}

static enum event event_of(const struct processor *here, uint64_t id) {
    enum event event = FAULT;
    while (event < EVENTS && here->ids[event] != id) event++;
    return event;
}

static struct sample decode(const struct processor *here, const struct written *written) {
    struct sample sample = {.time = written->time, .address = written->address, .process = written->process,
                            .thread = written->thread, .event = event_of(here, written->id)};
    const char *end = (const char *)&written->header + written->header.size, *at = written->rest;
    struct delivered delivered;
    struct registers registers;
    if (sample.event == DELIVERY && end - at >= (ptrdiff_t)sizeof delivered) {
        memcpy(&delivered, at, sizeof delivered);
        sample.signal = delivered.signal;
        sample.code = delivered.code;
        at += sizeof delivered.size + delivered.size;
    }
    if (at > end || end - at < (ptrdiff_t)sizeof registers) return sample;
    memcpy(&registers, at, sizeof registers);
    sample.stack_pointer = registers.kind ? registers.stack_pointer : 0;
    sample.program_counter = registers.kind ? registers.program_counter : 0;
    return sample;
}

/* From the newest to the oldest that is whole: this ring is written backwards. */
static int read_ring(const struct processor *here, pid_t victim, uint64_t since, struct sample *samples, int room) {
    union {
        struct written written;
        char bytes[RECORD_BYTES];
    } record;
    const struct ring *ring = &here->samples;
    uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
    int count = 0;
    for (uint64_t at = head; at - head < ring->size && count < room; at += record.written.header.size) {
        ring_copy(ring, at, &record, sizeof record.written.header);
        size_t bytes = record.written.header.size;
        if (bytes < sizeof record.written.header || bytes > sizeof record || at - head + bytes > ring->size) break;
        ring_copy(ring, at, &record, bytes);
        if (record.written.header.type != PERF_RECORD_SAMPLE || bytes < sizeof record.written) continue;
        struct sample sample = decode(here, &record.written);
        if ((pid_t)sample.process == victim && sample.time >= since && sample.event < EVENTS) samples[count++] = sample;
    }
    return count;
}

static int by_time(const void *a, const void *b) {
    uint64_t first = ((const struct sample *)a)->time, second = ((const struct sample *)b)->time;
    return (first > second) - (first < second);
}

int perf_samples(const struct perf *perf, pid_t victim, uint64_t since, struct sample **samples) {
    size_t bytes = 0;
    int count = 0;
    for (int i = 0; i < perf->processors; i++) bytes += perf->processor[i].samples.size;
    int room = (int)(bytes / LEAST_BYTES);
    *samples = calloc((size_t)room, sizeof **samples);
    if (!*samples) return 0;
    for (int i = 0; i < perf->processors; i++)
        count += read_ring(&perf->processor[i], victim, since, *samples + count, room - count);
    qsort(*samples, (size_t)count, sizeof **samples, by_time);
    return count;
}
