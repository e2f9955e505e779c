/* Preloaded into the harness: the machine fails where it is told to.
 *
 *   SHORT_ERRNO=N SHORT_FROM=K SHORT_PATH=TEXT   each write from the Kth on fails with errno N, to files whose path has TEXT
 *   SHORT_CLOCK=SECONDS                          the clock of the day is off by so much, one way and the other in turn
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int number_of(const char *variable) {
    const char *value = getenv(variable);
    return value ? atoi(value) : 0;
}

static int is_meant(int fd) {
    char link[64], path[PATH_MAX];
    const char *wanted = getenv("SHORT_PATH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = wanted ? readlink(link, path, sizeof path - 1) : -1;
    if (length < 0) return 0;
    path[length] = '\0';
    return strstr(path, wanted) != NULL;
}

/* Whether this write is to fail, and then errno says how. */
static int fails(int fd) {
    static int writes;
    int error = number_of("SHORT_ERRNO");
    if (!error || !is_meant(fd) || ++writes < number_of("SHORT_FROM")) return 0;
    errno = error;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return pwrite64(fd, bytes, size, offset); }
ssize_t write(int fd, const void *bytes, size_t size) { return fails(fd) ? -1 : syscall(SYS_write, fd, bytes, size); }
int ftruncate64(int fd, off64_t size) { return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int turns;
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += number_of("SHORT_CLOCK") * (turns++ % 2 ? -1 : 1);
    return result;
}
