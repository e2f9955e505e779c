/* runner: the native host, the same faults without an interpreter around them.
 *
 *   runner FAULT MODE [NAME=VALUE...]      arms itself for the box on descriptor 4, and fires
 *   runner --alone MARK FAULT MODE [...]   the same without a supervisor, with a box of its own; makes the file MARK
 *                                          where the fault did not end it
 *   runner --zygote                        serves trials on descriptor 4, each in a fork of itself
 *   runner --launcher COMMAND...           the same, each in a new image of COMMAND FAULT MODE [NAME=VALUE...]
 *   runner --build                         prints what compiled it, and how the faults were compiled
 *   runner --fork-limit COUNT              what the kernel alone takes: fork, SIGSEGV, wait; for the benchmark
 *   runner --exec-limit COUNT COMMAND...   the same with vfork and exec of COMMAND
 *
 * The script of the Python host takes the same. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box/victim.h"
#include "faults/faults.h"
#include "trials/zygote.h"

enum { BOX_FD = 4, SOCKET_FD = 4, ALONE_BYTES = 256 << 20, UNFIRED = 3 };

static int complain(const char *text) { return write(STDERR_FILENO, text, strlen(text)) < 0 ? 1 : 2; }

static int fire_once(int count, char **words) {
    if (arm(BOX_FD) != 0) return complain("no box on descriptor 4: a victim is started by a supervisor only\n");
    if (fire_words(count, words) == BAD_WORDS) return complain("usage: runner FAULT MODE [NAME=VALUE...]\n");
    return 0;
}

/* Sets the memory limit without which memory faults refuse to fire, unless a limit is in force already. */
static void limit_memory(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY) return;
    limit.rlim_cur = ALONE_BYTES;
    setrlimit(RLIMIT_DATA, &limit);
}

static int arm_alone(void) {
    struct box box = {.magic = BOX_MAGIC};
    int fd = memfd_create("crash-box", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, BOX_BYTES) != 0) return -1;
    return pwrite(fd, &box, sizeof box, 0) == (ssize_t)sizeof box ? arm(fd) : -1;
}

/* Fires without a supervisor. A process that comes back from the shot is alive, which must not pass for the end that was
 * asked for. */
static int fire_alone(const char *mark, int count, char **words) {
    limit_memory();
    if (arm_alone() == 0) fire_words(count, words);
    return open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) < 0 ? 1 : UNFIRED;
}

static int await(pid_t child) {
    siginfo_t end;
    if (child < 0) return -1;
    return waitid(P_PID, (id_t)child, &end, WEXITED);
}

static int fork_limit(long count) {
    while (count-- > 0) {
        pid_t child = fork();
        if (child == 0) {
            *(volatile int *volatile)NULL = 1;
            _exit(1);
        }
        if (await(child) != 0) return 1;
    }
    return 0;
}

static int exec_limit(long count, char **command) {
    while (count-- > 0) {
        pid_t child = vfork();
        if (child == 0) {
            execv(command[0], command);
            _exit(127);
        }
        if (await(child) != 0) return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--alone") == 0 && argc > 2) return fire_alone(argv[2], argc - 3, argv + 3);
    if (strcmp(first, "--zygote") == 0) return serve(SOCKET_FD) == 0 ? 0 : 1;
    if (strcmp(first, "--launcher") == 0 && argc > 2) return serve_fresh(SOCKET_FD, argv + 2) == 0 ? 0 : 1;
    if (strcmp(first, "--build") == 0) return puts(BUILD) < 0;
    if (strcmp(first, "--fork-limit") == 0 && argc > 2) return fork_limit(strtol(argv[2], NULL, 10));
    if (strcmp(first, "--exec-limit") == 0 && argc > 3) return exec_limit(strtol(argv[2], NULL, 10), argv + 3);
    return fire_once(argc - 1, argv + 1);
}
