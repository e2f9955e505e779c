#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "witness/perf.h"
#include "witness/witness.h"

enum { SAMPLE_PAGES = 16, MAP_PAGES = 8, NEVER_WAKE = 1 << 30 };

#if defined(__x86_64__)
enum { STACK_REGISTER = 7, COUNTER_REGISTER = 8 };
#else
enum { STACK_REGISTER = 31, COUNTER_REGISTER = 32 };
#endif

/* What the event of a fault and those of its completion have in common. Threads inherit them, and children do not. A full
 * ring loses its oldest samples. */
static struct perf_event_attr observed(uint32_t type, uint64_t config) {
    return (struct perf_event_attr){
        .size = sizeof(struct perf_event_attr),
        .type = type,
        .config = config,
        .sample_period = 1,
        .sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | PERF_SAMPLE_REGS_USER,
        .sample_regs_user = 1ull << STACK_REGISTER | 1ull << COUNTER_REGISTER,
        .disabled = 1,
        .enable_on_exec = 1,
        .inherit = 1,
        .inherit_thread = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .write_backward = 1,
        .wakeup_events = NEVER_WAKE,
    };
}

/* What is mapped, and each exec: the beginning is kept, where the libraries are. */
static struct perf_event_attr mapped(void) {
    return (struct perf_event_attr){
        .size = sizeof(struct perf_event_attr),
        .type = PERF_TYPE_SOFTWARE,
        .config = PERF_COUNT_SW_DUMMY,
        .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
        .sample_id_all = 1,
        .disabled = 1,
        .enable_on_exec = 1,
        .inherit = 1,
        .inherit_thread = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .mmap = 1,
        .mmap2 = 1,
        .comm = 1,
        .comm_exec = 1,
        .watermark = 1,
        .wakeup_watermark = NEVER_WAKE,
    };
}

/* Before Linux 5.13 what threads inherit children inherit too: those are told apart by their pid. */
static int open_event(struct perf_event_attr *event, pid_t victim, int processor) {
    int fd = (int)syscall(SYS_perf_event_open, event, victim, processor, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd >= 0 || errno != EINVAL || !event->inherit_thread) return fd;
    event->inherit_thread = 0;
    return (int)syscall(SYS_perf_event_open, event, victim, processor, -1, PERF_FLAG_FD_CLOEXEC);
}

static int map_ring(struct ring *ring, int fd, int protection, size_t pages) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, page * (1 + pages), protection, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return -1;
    *ring = (struct ring){(void *)memory, memory + page, page * pages};
    return 0;
}

/* The event's descriptor, or -1. The first of a processor has the ring that the others write to. */
static int add_event(struct processor *here, enum event which, struct perf_event_attr *event, pid_t victim, int number,
                     int first) {
    int fd = open_event(event, victim, number);
    if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_ID, &here->ids[which]) != 0) return -1;
    if (first < 0) return map_ring(&here->samples, fd, PROT_READ, SAMPLE_PAGES) == 0 ? fd : -1;
    return ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, first) == 0 ? fd : -1;
}

/* The number of the tracepoint; 0 where it can't be read. */
static uint64_t delivery_id(void) {
    unsigned long id = 0;
    FILE *file = fopen("/sys/kernel/tracing/events/signal/signal_deliver/id", "re");
    if (file && fscanf(file, "%lu", &id) != 1) id = 0;
    if (file) fclose(file);
    return id;
}

/* Adds the deliveries of signals, which takes rights. Without them the other events work as before. */
static void add_deliveries(struct perf *perf, struct processor *here, pid_t victim, int number, int first, uint64_t id) {
    struct perf_event_attr event = observed(PERF_TYPE_TRACEPOINT, id);
    event.sample_type |= PERF_SAMPLE_RAW;
    event.exclude_kernel = 0;
    perf->sees_deliveries = id && add_event(here, DELIVERY, &event, victim, number, first) >= 0;
}

static int watch(struct perf *perf, pid_t victim, int number, uint64_t id) {
    static const uint64_t counters[] = {[FAULT] = PERF_COUNT_SW_PAGE_FAULTS, [SERVED_AT_ONCE] = PERF_COUNT_SW_PAGE_FAULTS_MIN,
                                        [SERVED_LATER] = PERF_COUNT_SW_PAGE_FAULTS_MAJ};
    struct processor *here = &perf->processor[perf->processors++];
    struct perf_event_attr maps = mapped();
    int maps_fd = open_event(&maps, victim, number), first = -1;
    if (maps_fd < 0 || map_ring(&here->maps, maps_fd, PROT_READ | PROT_WRITE, MAP_PAGES) != 0) return -1;
    for (enum event which = FAULT; which <= SERVED_LATER; which++) {
        struct perf_event_attr event = observed(PERF_TYPE_SOFTWARE, counters[which]);
        int fd = add_event(here, which, &event, victim, number, first);
        if (fd < 0) return -1;
        if (first < 0) first = fd;
    }
    add_deliveries(perf, here, victim, number, first, id);
    return 0;
}

/* Opens the events on the processors that we may run on, since the victim may run on no others. */
struct perf *perf_open(pid_t victim, struct box *page) {
    cpu_set_t allowed;
    uint64_t id = delivery_id();
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return witness_fails(page, "sched_getaffinity", errno), NULL;
    struct perf *perf = calloc(1, sizeof *perf + (size_t)CPU_COUNT(&allowed) * sizeof perf->processor[0]);
    if (!perf) return witness_fails(page, "perf", ENOMEM), NULL;
    for (int number = 0; number < CPU_SETSIZE; number++) {
        if (!CPU_ISSET(number, &allowed) || watch(perf, victim, number, id) == 0) continue;
        witness_fails(page, "perf_event_open", errno);
        return NULL;
    }
    page->armed = 1;
    return perf;
}
