/* Files: an operation fails with the error that the order names, or moves fewer bytes than it was asked for. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "trials/sweep.h"

static int fail(void) {
    errno = sweep->order.error;
    return -1;
}

/* --- open --- */

/* The mode is there only for what may be created. */
#define MODE_OF(list, flags)                                                                                \
    va_start(list, flags);                                                                                  \
    mode_t mode = (flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;       \
    va_end(list)

#define OPENS(name, OPEN_PARAMETERS, ...)                                                                   \
    INTERPOSED int name OPEN_PARAMETERS {                                                                   \
        va_list list;                                                                                       \
        MODE_OF(list, flags);                                                                               \
        hear_path(path);                                                                                    \
        return refuse(ASKS_OPEN, 0) ? fail() : BEHIND(name)(__VA_ARGS__, mode);                              \
    }

OPENS(open, (const char *path, int flags, ...), path, flags)
OPENS(open64, (const char *path, int flags, ...), path, flags)
OPENS(openat, (int folder, const char *path, int flags, ...), folder, path, flags)
OPENS(openat64, (int folder, const char *path, int flags, ...), folder, path, flags)

/* What a fortified program calls in their place. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

INTERPOSED int __open_2(const char *path, int flags) { return open(path, flags, 0); }
INTERPOSED int __open64_2(const char *path, int flags) { return open64(path, flags, 0); }
INTERPOSED int __openat_2(int folder, const char *path, int flags) { return openat(folder, path, flags, 0); }
INTERPOSED int __openat64_2(int folder, const char *path, int flags) { return openat64(folder, path, flags, 0); }

INTERPOSED int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
INTERPOSED int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static FILE *no_file(void) {
    errno = sweep->order.error;
    return NULL;
}

/* The C library's own files open inside of it, where no name is interposed. */
INTERPOSED FILE *fopen(const char *path, const char *how) {
    hear_path(path);
    return refuse(ASKS_OPEN, 0) ? no_file() : BEHIND(fopen)(path, how);
}

INTERPOSED FILE *fopen64(const char *path, const char *how) {
    hear_path(path);
    return refuse(ASKS_OPEN, 0) ? no_file() : BEHIND(fopen64)(path, how);
}

/* --- read and write --- */

/* How many bytes to move: all that were asked for, fewer, or none, which is -1 with errno set. */
static ssize_t granted(enum family family, size_t bytes) {
    if (!refuse(family, bytes)) return (ssize_t)bytes;
    return sweep->order.error ? fail() : (ssize_t)(bytes + 1) / 2;
}

INTERPOSED ssize_t read(int fd, void *buffer, size_t bytes) {
    ssize_t left = granted(ASKS_READ, bytes);
    return left < 0 ? -1 : BEHIND(read)(fd, buffer, (size_t)left);
}

INTERPOSED ssize_t pread(int fd, void *buffer, size_t bytes, off_t at) {
    ssize_t left = granted(ASKS_READ, bytes);
    return left < 0 ? -1 : BEHIND(pread)(fd, buffer, (size_t)left, at);
}

INTERPOSED ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t at) { return pread(fd, buffer, bytes, at); }

ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off64_t at, size_t room);

INTERPOSED ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room) {
    ssize_t left = granted(ASKS_READ, bytes);
    return left < 0 ? -1 : BEHIND(__read_chk)(fd, buffer, (size_t)left, room);
}

INTERPOSED ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t at, size_t room) {
    ssize_t left = granted(ASKS_READ, bytes);
    return left < 0 ? -1 : BEHIND(__pread_chk)(fd, buffer, (size_t)left, at, room);
}

INTERPOSED ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off64_t at, size_t room) {
    return __pread_chk(fd, buffer, bytes, at, room);
}

INTERPOSED ssize_t write(int fd, const void *buffer, size_t bytes) {
    ssize_t left = granted(ASKS_WRITE, bytes);
    return left < 0 ? -1 : BEHIND(write)(fd, buffer, (size_t)left);
}

INTERPOSED ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t at) {
    ssize_t left = granted(ASKS_WRITE, bytes);
    return left < 0 ? -1 : BEHIND(pwrite)(fd, buffer, (size_t)left, at);
}

INTERPOSED ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off64_t at) {
    return pwrite(fd, buffer, bytes, at);
}

/* A short count for several buffers means the first of them alone. */
static int granted_buffers(enum family family, const struct iovec *buffers, int count) {
    size_t bytes = 0;
    for (int at = 0; at < count; at++) bytes += buffers[at].iov_len;
    if (!refuse(family, bytes)) return count;
    return sweep->order.error ? fail() : count ? 1 : 0;
}

INTERPOSED ssize_t readv(int fd, const struct iovec *buffers, int count) {
    int left = granted_buffers(ASKS_READ, buffers, count);
    return left < 0 ? -1 : BEHIND(readv)(fd, buffers, left);
}

INTERPOSED ssize_t writev(int fd, const struct iovec *buffers, int count) {
    int left = granted_buffers(ASKS_WRITE, buffers, count);
    return left < 0 ? -1 : BEHIND(writev)(fd, buffers, left);
}

/* --- what tells late: a write that was only buffered fails here --- */

INTERPOSED int fsync(int fd) { return refuse(ASKS_SYNC, 0) ? fail() : BEHIND(fsync)(fd); }
INTERPOSED int fdatasync(int fd) { return refuse(ASKS_SYNC, 0) ? fail() : BEHIND(fdatasync)(fd); }

/* Linux has closed the descriptor, whatever close() says. */
INTERPOSED int close(int fd) {
    int refused = refuse(ASKS_CLOSE, 0), status = BEHIND(close)(fd);
    return refused && status == 0 ? fail() : status;
}
