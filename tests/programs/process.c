/* process WHAT [NUMBER]: programs that look at what a process has. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "named.h"

static void limits(long unused) {
    (void)unused;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;
        if (getrlimit(i, &limit) == 0) printf("%d %lx %lx\n", i, (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
}

static void states(long unused) {
    static const int asked[] = {PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_TIMERSLACK, PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS,
                                PR_GET_SECUREBITS, PR_GET_THP_DISABLE};
    int death = 0, reaper = 0;
    (void)unused;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) printf("%d: %d\n", asked[i], prctl(asked[i], 0, 0, 0, 0));
    prctl(PR_GET_PDEATHSIG, &death);
    prctl(PR_GET_CHILD_SUBREAPER, &reaper);
    mode_t mask = umask(0);
    printf("death %d reaper %d mask %o nice %d\n", death, reaper, mask, getpriority(PRIO_PROCESS, 0));
    printf("policy %d personality %x\n", sched_getscheduler(0), (unsigned)personality(0xffffffff));
    printf("user %d %d group %d %d secure %lu\n", getuid(), geteuid(), getgid(), getegid(), getauxval(AT_SECURE));
    printf("name %s %s\n", program_invocation_name, (char *)(uintptr_t)getauxval(AT_EXECFN));
}

static void status(long unused) {
    static const char *const asked[] = {"Umask", "Uid", "Gid", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "CapInh",
                                        "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "TracerPid",
                                        "Cpus_allowed", "Mems_allowed_list", "CoreDumping", "THP_enabled"};
    char line[4096];
    (void)unused;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
            if (strncmp(line, asked[i], strlen(asked[i])) == 0 && line[strlen(asked[i])] == ':') fputs(line, stdout);
    if (file) fclose(file);
}

static void descriptors(long unused) {
    char path[64], target[PATH_MAX];
    (void)unused;
    for (int fd = 0; fd < 1024; fd++) {
        struct stat status;
        if (fstat(fd, &status) != 0) continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        printf("%d %o %.4s %x\n", fd, status.st_mode & S_IFMT, length > 0 ? target : "?", fcntl(fd, F_GETFD));
    }
    printf("next %d\n", open("/dev/null", O_RDONLY | O_CLOEXEC));
}

static void keys(long unused) {
    pthread_key_t key;
    int count = 0;
    (void)unused;
    pthread_key_create(&key, NULL);
    printf("first %u\n", key);
    while (pthread_key_create(&key, NULL) == 0) count++;
    printf("%d more\n", count);
}

static void ring(int number) { (void)number; }

static void inherited_actions(long unused) {
    (void)unused;
    for (int number = 1; number < 65; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0) continue;
        if (action.sa_handler != SIG_DFL) printf("%d %s\n", number, action.sa_handler == SIG_IGN ? "ignored" : "handled");
    }
    signal(SIGALRM, ring);
    printf("%u left\n", alarm(0));
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *count) {
    (void)info, (void)size;
    ++*(int *)count;
    return 0;
}

static void objects(long unused) {
    int count = 0;
    (void)unused;
    dl_iterate_phdr(count_objects, &count);
    printf("%d objects\n", count);
}

static const struct part all[] = {
    {"limits", limits}, {"states", states}, {"status", status}, {"descriptors", descriptors}, {"keys", keys},
    {"inherited_actions", inherited_actions}, {"objects", objects},
};

int main(int argc, char **argv) { return run_part(all, sizeof all / sizeof *all, argc, argv); }
