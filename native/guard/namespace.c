/* A PID namespace: what a victim starts can't leave it, can't signal out of it, and ends with its init, the guard. */
#include "guard/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t written = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return written == (ssize_t)strlen(text) ? 0 : -1;
}

static int keep_identity(uid_t uid, gid_t gid) {
    char map[64];
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (write_file("/proc/self/setgroups", "deny") != 0 || write_file("/proc/self/uid_map", map) != 0) return -1;
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", map);
}

int leave_namespaces(int kinds) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(kinds) == 0) return 0;
    if (unshare(CLONE_NEWUSER | kinds) != 0) return -1;
    return keep_identity(uid, gid);
}

/* Programs look themselves up by pid in /proc, so it must be the namespace's own. */
static int mount_own_proc(void) {
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) return -1;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* Holds nothing, so that every end of file comes when init is gone. */
static void wait_for_init(pid_t init) {
    int status;
    syscall(SYS_close_range, 0, ~0u, 0);
    while (waitpid(init, &status, 0) < 0 && errno == EINTR) continue;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Init tells whether it could mount, before its parent lets go of everything. */
int enter_namespace(void) {
    int ends[2], error = 0;
    if (leave_namespaces(CLONE_NEWPID | CLONE_NEWNS) != 0 || pipe2(ends, O_CLOEXEC) != 0) return -1;
    pid_t init = fork();
    if (init < 0) return -1;
    if (init == 0) {
        error = mount_own_proc() == 0 ? 0 : errno;
        if (write(ends[1], &error, sizeof error) != sizeof error || error) _exit(1);
        close(ends[0]);
        close(ends[1]);
        return 0;
    }
    close(ends[1]);
    if (read(ends[0], &error, sizeof error) == sizeof error && error == 0) wait_for_init(init);
    waitpid(init, NULL, 0);
    errno = error;
    return -1;
}
