#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "witness/perf.h"

enum { MOST_MAPPINGS = 512, RECORD_BYTES = 8192 };

/* PERF_RECORD_MMAP2 and PERF_RECORD_COMM, as far as they are of use; the time is the last word of both. */
struct mapped {
    struct perf_event_header header;
    uint32_t process, thread;
    uint64_t start, length, offset;
    char inode[24];
    uint32_t protection, flags;
    char name[];
};

static uint64_t time_of(const struct perf_event_header *header) {
    uint64_t time;
    memcpy(&time, (const char *)header + header->size - sizeof time, sizeof time);
    return time;
}

static void take_mapping(struct mappings *mappings, const struct mapped *record) {
    if (mappings->count == MOST_MAPPINGS) return;
    struct mapping *mapping = &mappings->all[mappings->count++];
    const char *last = strrchr(record->name, '/');
    *mapping = (struct mapping){record->start, record->start + record->length, record->offset, time_of(&record->header), ""};
    if (*record->name == '/' || *record->name == '[')
        snprintf(mapping->name, sizeof mapping->name, "%s", last ? last + 1 : record->name);
}

static void take_record(struct mappings *mappings, const struct perf_event_header *header, pid_t victim) {
    const struct mapped *record = (const void *)header;
    if ((pid_t)record->process != victim) return;
    if (header->type == PERF_RECORD_MMAP2) take_mapping(mappings, record);
    int is_exec = header->type == PERF_RECORD_COMM && header->misc & PERF_RECORD_MISC_COMM_EXEC;
    if (is_exec && time_of(header) > mappings->last_exec) mappings->last_exec = time_of(header);
}

static void read_ring(struct mappings *mappings, const struct ring *ring, pid_t victim) {
    union {
        struct perf_event_header header;
        char bytes[RECORD_BYTES];
    } record;
    uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
    for (uint64_t at = 0; at < head; at += record.header.size) {
        ring_copy(ring, at, &record, sizeof record.header);
        if (record.header.size < sizeof record.header || record.header.size > sizeof record) return;
        ring_copy(ring, at, &record, record.header.size);
        take_record(mappings, &record.header, victim);
    }
}

struct mappings perf_mappings(const struct perf *perf, pid_t victim) {
    struct mappings mappings = {.all = calloc(MOST_MAPPINGS, sizeof(struct mapping))};
    if (!mappings.all) return mappings;
    for (int i = 0; i < perf->processors; i++) read_ring(&mappings, &perf->processor[i].maps, victim);
    return mappings;
}

/* Takes the latest mapping of that address. Only the executable part is known: the file's first byte lies as far before it
 * in memory as in the file. */
void perf_place(const struct mappings *mappings, struct crash *crash) {
    const struct mapping *found = NULL;
    for (int i = 0; i < mappings->count; i++) {
        const struct mapping *one = &mappings->all[i];
        int is_here = one->start <= crash->program_counter && crash->program_counter < one->end;
        if (is_here && one->time >= mappings->last_exec && (!found || one->time > found->time)) found = one;
    }
    if (!found || !*found->name) return;
    crash->offset = crash->program_counter - found->start + found->offset;
    memcpy(crash->module, found->name, sizeof crash->module);
}
