#include "box/announce.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "box/identity.h"

enum { REMOTE_FD = 200 };

/* Out of the way of scripts, which number their descriptors from 3 on; where the limit allows it. */
static int remote_box(int box_fd) {
    int remote = fcntl(box_fd, F_DUPFD, REMOTE_FD);
    if (remote >= 0) return remote;
    fcntl(box_fd, F_SETFD, 0);
    return box_fd;
}

void announce_box(const struct announcement *announcement) {
    char identity[IDENTITY_BYTES], fd[IDENTITY_BYTES], list[2 * PATH_MAX];
    const char *library = announcement->library, *others = getenv(PRELOAD_VARIABLE);
    if (!library) return;
    int length = snprintf(list, sizeof list, "%s%s%s", library, others ? ":" : "", others ? others : "");
    if (length < 0 || (size_t)length >= sizeof list) return;
    write_identity(identity);
    snprintf(fd, sizeof fd, "%d", remote_box(announcement->box_fd));
    setenv(PRELOAD_VARIABLE, list, 1);
    setenv(FD_VARIABLE, fd, 1);
    setenv(VICTIM_VARIABLE, identity, 1);
}
