/* What a victim leaves behind. Init and a subreaper inherit orphans, sessions and daemons included, so it is enough
 * to kill one's own children until there are none. Their pids can't be another's before we reap them. */
#include "guard/survivors.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, LIST_BYTES = 4096 };

/* The fourth field of /proc/PID/stat, behind the name, which may hold anything. 0 when it is gone. */
static pid_t parent_of(const char *pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    int parent = 0;
    char *name_end = strrchr(text, ')');
    if (!name_end || sscanf(name_end + 1, " %*c %d", &parent) != 1) return 0;
    return parent;
}

/* Kills the children in the kernel's list, as much of it as one read gives. Returns -1 where there is no such list. */
static int kill_listed(void) {
    char text[LIST_BYTES], *at = text;
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (length < 0) return -1;
    text[length] = '\0';
    for (char *end; (end = strchr(at, ' ')) != NULL; at = end + 1) kill((pid_t)strtol(at, NULL, 10), SIGKILL);
    return 0;
}

static void kill_children(void) {
    if (kill_listed() == 0) return;
    DIR *processes = opendir("/proc");
    if (!processes) return;
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && parent_of(entry->d_name) == getpid())
            kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
    closedir(processes);
}

/* As init, one call reaches the whole namespace, and a fork that is under way fails. */
static void kill_everything(int is_init) {
    if (is_init)
        kill(-1, SIGKILL);
    else
        kill_children();
}

/* Waits until a child has ended, or for a millisecond: then what was forked meanwhile is killed too. */
static void wait_for_an_end(void) {
    const struct timespec moment = {.tv_nsec = 1000000};
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigtimedwait(&ended, NULL, &moment);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int kill_survivors(int is_init) {
    int killed = 0;
    for (int64_t end_ms = now_ms() + PATIENCE_MS; now_ms() < end_ms;) {
        int status;
        pid_t child = waitpid(-1, &status, WNOHANG);
        if (child < 0) return killed;
        if (child > 0) {
            killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            continue;
        }
        kill_everything(is_init);
        wait_for_an_end();
    }
    return -1;
}
