#include "box/victim.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/machine.h"

const int crash_signals[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

static struct box *box;
static pid_t *victim; /* on a page that a fork wipes: a child inherits handlers and mapping, and may have the same number */
static int is_filtered;

/* A thread's own variable that is reached without a call which might allocate. musl refuses such a variable in a module
 * that is loaded late. */
#if defined(__GLIBC__)
static __thread int32_t thread __attribute__((tls_model("initial-exec")));
#else
static const int32_t thread = 0;
#endif

static int32_t ask(long number) { return (int32_t)CALL(number, 0); }

struct box *map_box(int fd) {
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size != BOX_BYTES) return NULL;
    struct box *page = mmap(NULL, BOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (page == MAP_FAILED) return NULL;
    if (page->magic == BOX_MAGIC) return page;
    munmap(page, BOX_BYTES);
    return NULL;
}

int adopt_box(struct box *page) {
    victim = mmap(NULL, sizeof *victim, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (victim == MAP_FAILED) return victim = NULL, -1;
    madvise(victim, sizeof *victim, MADV_WIPEONFORK);
    box = page;
    renew_victim();
    return 0;
}

void renew_victim(void) {
    *victim = getpid();
    note_thread();
}

struct box *armed_box(void) { return box; }

/* A child by vfork() shares the page with the note: only the kernel can tell it apart. */
int borrows_memory(void) { return victim && *victim && !is_filtered && *victim != ask(SYS_getpid); }

int is_victim(void) { return victim && *victim && !borrows_memory(); }

void note_thread(void) {
#if defined(__GLIBC__)
    thread = ask(SYS_gettid);
#endif
}

void note_filter(void) { is_filtered = 1; }

int has_filter(void) { return is_filtered; }

struct writer writer_here(void) {
    if (is_filtered) return (struct writer){victim ? *victim : 0, thread, 0};
    return (struct writer){ask(SYS_getpid), ask(SYS_gettid), 1};
}
