/* Files that end, and readers that leave. */
#include "faults/family.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guard/namespace.h"

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Maps `pages` over a file that has one page. Returns NULL when it is refused. */
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

/* Mounts a filesystem of 64 KiB over `folder`, in a mount namespace that ends with this process. Returns 0 or -1. */
static int mount_small(const char *folder) {
    if (leave_namespaces(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
    return mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k");
}

/* Maps `bytes` of a new file, all of it a hole. Returns NULL when it is refused. */
static char *map_hole(const char *path, size_t bytes) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) return NULL;
    void *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return mapping == MAP_FAILED ? NULL : mapping;
}

/* Fills the filesystem. Returns 1 if it was full before a MiB was written. */
static int fill_up(const char *path) {
    static const char chunk[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return 0;
    for (int turn = 0; turn < 256; turn++)
        if (write(fd, chunk, sizeof chunk) < 0) return 1;
    return 0;
}

/* The file has its size, and no page behind it. */
static enum outcome full_tmpfs(const struct shot *shot) {
    (void)shot;
    if (mount_small("/tmp") != 0) return DID_NOT_FIRE;
    char *mapping = map_hole("/tmp/crash-harness-mapped", page_size());
    if (mapping && fill_up("/tmp/crash-harness-rest")) *launder(mapping) = 1;
    return DID_NOT_FIRE;
}

/* As in a container whose /dev/shm is smaller than its programs think. The name is as of shm_open(). */
static enum outcome full_shared_memory(const struct shot *shot) {
    enum { SEGMENT_BYTES = 1 << 20 };
    (void)shot;
    if (mount_small("/dev/shm") != 0) return DID_NOT_FIRE;
    char *segment = map_hole("/dev/shm/crash-harness-segment", SEGMENT_BYTES);
    for (size_t at = 0; segment && at < SEGMENT_BYTES; at += page_size()) launder(segment)[at] = 1;
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

#define PRIVATE .family = "files", .kind = "deterministic", .tiers = "forced", .needs = "namespace"

FAMILY(file_faults,
    {FILES, .name = "truncated_mapping", .fire = truncated_mapping,
     .mechanism = "Reads a mapped page of a file that was truncated meanwhile.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {FILES, .name = "past_end_mapping", .fire = past_end_mapping,
     .mechanism = "Reads a mapped page that lies behind the end of its file.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {PRIVATE, .name = "full_tmpfs", .fire = full_tmpfs,
     .mechanism = "Writes to a mapped file for which its full filesystem has no page left.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {PRIVATE, .name = "full_shared_memory", .fire = full_shared_memory,
     .mechanism = "Writes to shared memory of which a small /dev/shm can hold a part only.",
     .expects = "SIGBUS BUS_ADRERR wild"},
    {FILES, .name = "file_size_limit", .fire = file_size_limit,
     .mechanism = "Writes past the limit on the size of files.", .expects = "SIGXFSZ"},
    {FILES, .name = "broken_pipe", .fire = broken_pipe,
     .mechanism = "Writes to a pipe that nobody reads any more.", .expects = "SIGPIPE"});
