/* Files that end, and readers that leave. */
#include "family.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* `pages` of a mapping over a file that has one. NULL when refused. */
static char *map_file(size_t pages, int *fd) {
    *fd = memfd_create("mapped", MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, (off_t)page_size()) != 0) return NULL;
    void *mapping = mmap(NULL, pages * page_size(), PROT_READ, MAP_SHARED, *fd, 0);
    return mapping == MAP_FAILED ? NULL : mapping;
}

static enum outcome truncated_mapping(const struct shot *shot) {
    int fd;
    char *mapping = map_file(1, &fd);
    (void)shot;
    if (mapping && ftruncate(fd, 0) == 0) (void)*launder(mapping);
    return DID_NOT_FIRE;
}

static enum outcome past_end_mapping(const struct shot *shot) {
    int fd;
    char *mapping = map_file(2, &fd);
    (void)shot;
    if (mapping) (void)*launder(mapping + page_size());
    return DID_NOT_FIRE;
}

/* Python ignores the two signals below, and what is ignored stays so. */
static enum outcome file_size_limit(const struct shot *shot) {
    struct rlimit limit = {.rlim_cur = 1, .rlim_max = 1};
    int fd = memfd_create("limited", MFD_CLOEXEC);
    (void)shot;
    signal(SIGXFSZ, SIG_DFL);
    if (fd < 0 || setrlimit(RLIMIT_FSIZE, &limit) != 0) return DID_NOT_FIRE;
    ssize_t written = pwrite(fd, "xx", 2, 1);
    (void)written;
    return DID_NOT_FIRE;
}

static enum outcome broken_pipe(const struct shot *shot) {
    int ends[2];
    (void)shot;
    signal(SIGPIPE, SIG_DFL);
    if (pipe(ends) != 0) return DID_NOT_FIRE;
    close(ends[0]);
    ssize_t written = write(ends[1], "x", 1);
    (void)written;
    return DID_NOT_FIRE;
}

#define FILES .family = "files", .kind = "deterministic", .tiers = "forced", .needs = ""

FAMILY(file_faults,
    {FILES, .name = "truncated_mapping", .fire = truncated_mapping,
     .mechanism = "Reads a mapped page of a file that was truncated meanwhile.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {FILES, .name = "past_end_mapping", .fire = past_end_mapping,
     .mechanism = "Reads a mapped page that lies behind the end of its file.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {FILES, .name = "file_size_limit", .fire = file_size_limit,
     .mechanism = "Writes past the limit on the size of files.", .expects = "SIGXFSZ"},
    {FILES, .name = "broken_pipe", .fire = broken_pipe,
     .mechanism = "Writes to a pipe that nobody reads any more.", .expects = "SIGPIPE"});
