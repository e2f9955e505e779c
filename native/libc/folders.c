/* Folders: a program reads the kernel's own entries. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "box/machine.h"

enum { BUFFER_BYTES = 8000 };

struct __dirstream {
    int fd;
    long at, filled;
    _Alignas(struct dirent) char buffer[BUFFER_BYTES];
};

DIR *fdopendir(int fd) {
    DIR *folder = calloc(1, sizeof *folder);
    if (folder) folder->fd = fd;
    return folder;
}

DIR *opendir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !folder) close(fd);
    return folder;
}

struct dirent *readdir(DIR *folder) {
    if (folder->at == folder->filled) {
        folder->at = 0;
        folder->filled = CALL(SYS_getdents64, folder->fd, (long)folder->buffer, BUFFER_BYTES);
        if (folder->filled <= 0) return folder->filled = 0, NULL;
    }
    struct dirent *entry = (void *)(folder->buffer + folder->at);
    folder->at += entry->d_reclen;
    return entry;
}

int closedir(DIR *folder) {
    int result = close(folder->fd);
    free(folder);
    return result;
}
