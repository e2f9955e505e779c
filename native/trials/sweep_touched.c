/* The pages that a trial writes. A child shares its server's memory until it writes there, and each page that it then
 * copies takes a fault. Trials write to nearly the same pages: those of the recording are copied together in each later
 * child, before its turn. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trials/spans.h"
#include "trials/sweep_turns.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* since Linux 5.14 */
#endif

enum { SPANS = 1024, PAGE = 4096, ENTRIES = 512, MOST_PAGES = 4096 };

static struct span spans[SPANS];
static int span_count;

static int takes_each(const struct span *span) { return span->start < span->end; }

void learn_spans(void) { span_count = find_spans(spans, SPANS, takes_each); }

/* Whether a page is this process's alone. The bits are those of /proc/PID/pagemap: present, exclusively mapped, and a
 * file's or shared memory. */
static int is_own(uint64_t entry) { return entry >> 63 & 1 && entry >> 56 & 1 && !(entry >> 61 & 1); }

struct note {
    struct touched *touched;
    uint32_t runs, pages;
};

/* Returns 0 when there is no room left. */
static int note_page(struct note *note, uint64_t at) {
    struct touched *touched = note->touched;
    if (note->pages++ == MOST_PAGES) return 0;
    if (note->runs && touched->runs[note->runs - 1].start + touched->runs[note->runs - 1].bytes == at) {
        touched->runs[note->runs - 1].bytes += PAGE;
        return 1;
    }
    if (note->runs == MOST_RUNS) return 0;
    touched->runs[note->runs].start = at;
    touched->runs[note->runs++].bytes = PAGE;
    return 1;
}

static int note_span(struct note *note, int pagemap, const struct span *span) {
    uint64_t entries[ENTRIES], first = (uintptr_t)span->start / PAGE, end = (uintptr_t)span->end / PAGE;
    while (first < end) {
        size_t wanted = end - first < ENTRIES ? end - first : ENTRIES;
        ssize_t length = pread(pagemap, entries, wanted * sizeof entries[0], (off_t)(first * sizeof entries[0]));
        if (length <= 0) return 1;
        for (size_t at = 0; at < (size_t)length / sizeof entries[0]; at++, first++)
            if (is_own(entries[at]) && !note_page(note, first * PAGE)) return 0;
    }
    return 1;
}

/* The count comes last: the next child may look at the same time. */
void note_touched(struct touched *touched) {
    struct note note = {.touched = touched};
    if (touched->count || sysconf(_SC_PAGESIZE) != PAGE) return;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (int at = 0; pagemap >= 0 && at < span_count && note_span(&note, pagemap, &spans[at]); at++) continue;
    if (pagemap >= 0) close(pagemap);
    __atomic_store_n(&touched->count, note.runs, __ATOMIC_RELEASE);
}

/* A kernel that can't is asked once. */
void copy_touched(const struct touched *touched) {
    uint32_t count = __atomic_load_n(&touched->count, __ATOMIC_ACQUIRE);
    for (uint32_t at = 0; at < count && at < MOST_RUNS; at++) {
        void *start = (void *)(uintptr_t)touched->runs[at].start;
        if (madvise(start, touched->runs[at].bytes, MADV_POPULATE_WRITE) != 0 && errno == EINVAL) return;
    }
}
