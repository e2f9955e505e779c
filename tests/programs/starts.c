/* starts WHAT [NUMBER]: programs that start others, or become others. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "named.h"

extern char **environ;

static char own_name[4096];

/* --- children --- */

static void tell(const char *how, int status) {
    printf("%s: %s %d\n", how, WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    fflush(stdout);
}

static void children(long unused) {
    char *const crash[] = {own_name, (char *)"crash", NULL};
    int status;
    pid_t child;
    (void)unused;
    if ((child = fork()) == 0) null();
    waitpid(child, &status, 0);
    tell("fork", status);
    if ((child = vfork()) == 0) execv(own_name, crash), _exit(1);
    waitpid(child, &status, 0);
    tell("vfork", status);
    if (posix_spawn(&child, own_name, NULL, NULL, crash, environ) != 0) _exit(DID_NOT_HAPPEN);
    waitpid(child, &status, 0);
    tell("spawn", status);
    tell("system", system("kill -SEGV $$"));
    FILE *pipe = popen("env | grep -c -e CRASH_BOX -e LD_PRELOAD; exit 7", "re");
    for (int byte; pipe && (byte = getc(pipe)) != EOF;) putchar(byte);
    tell("popen", pclose(pipe));
}

static void crash(long unused) { (void)unused, null(); }

/* A daemon that is waited for: the last end of a pipe closes with it. */
static void daemon_waited_for(long unused) {
    int ends[2];
    char byte;
    (void)unused;
    if (pipe(ends) != 0) _exit(DID_NOT_HAPPEN);
    if (fork() == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        FILE *file = fopen("daemon.log", "we");
        fprintf(file, "worked, group %d, session %d\n", getpgrp() != getpid(), getsid(0) != getpid());
        fclose(file);
        if (write(ends[1], "x", 1) != 1) _exit(1);
        null();
    }
    wait(NULL);
    close(ends[1]);
    while (read(ends[0], &byte, 1) > 0) continue;
    puts("the daemon is done");
}

static void session(long unused) {
    (void)unused;
    printf("leads %d, ", getpgrp() == getpid());
    printf("setsid %d, ", setsid() == getpid());
    printf("leads %d %d\n", getpgrp() == getpid(), getsid(0) == getpid());
}

static void by_descriptor(long unused) {
    sigset_t set;
    struct signalfd_siginfo info;
    (void)unused;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) signal(SIGSEGV, SIG_DFL), sigprocmask(SIG_UNBLOCK, &set, NULL), null();
    if (read(fd, &info, sizeof info) != sizeof info) _exit(DID_NOT_HAPPEN);
    printf("%u %d %d\n", info.ssi_signo, info.ssi_code, info.ssi_status & 0x7f);
    raise(SIGSEGV);
    if (read(fd, &info, sizeof info) != sizeof info) _exit(DID_NOT_HAPPEN);
    printf("%u %d\n", info.ssi_signo, info.ssi_code);
}

static void traces(long unused) {
    int status;
    (void)unused;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        null();
    }
    waitpid(child, &status, 0);
    printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
    ptrace(PTRACE_CONT, child, NULL, (void *)(intptr_t)SIGSEGV);
    waitpid(child, &status, 0);
    tell("traced", status);
}

static void is_traced(long unused) {
    (void)unused;
    printf("%ld\n", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

/* --- execs --- */

static void closes_all(long unused) {
    (void)unused;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    execl(own_name, own_name, "crash", (char *)NULL);
}

static void without_environment(long unused) {
    char *const none[] = {NULL};
    char *const words[] = {(char *)"renamed", (char *)"crash", NULL};
    (void)unused;
    execve(own_name, words, none);
}

static void again(long number) {
    char text[32];
    if (number == 0) null();
    snprintf(text, sizeof text, "%ld", number - 1);
    execl("/proc/self/exe", own_name, "again", text, (char *)NULL);
}

static void fails_first(long unused) {
    (void)unused;
    execl("/no/such/file", "x", (char *)NULL);
    printf("%d ", errno);
    execl("/etc", "x", (char *)NULL);
    printf("%d ", errno);
    execlp("no-such-command", "x", (char *)NULL);
    printf("%d ", errno);
    execl("/etc/passwd", "x", (char *)NULL);
    printf("%d\n", errno);
    fflush(stdout);
    null();
}

static void many_words(long bytes) {
    char *word = malloc((size_t)bytes + 1);
    memset(word, 'x', (size_t)bytes);
    word[bytes] = '\0';
    execl("/bin/sh", "sh", "-c", "echo ${#0}", word, (char *)NULL);
    printf("%d\n", errno);
}

static void locks_memory(long unused) {
    (void)unused;
    printf("%d\n", mlockall(MCL_CURRENT | MCL_FUTURE));
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%d\n", page != MAP_FAILED);
}

static const struct part all[] = {
    {"children", children}, {"crash", crash}, {"daemon", daemon_waited_for}, {"session", session},
    {"by_descriptor", by_descriptor}, {"traces", traces}, {"is_traced", is_traced}, {"closes_all", closes_all},
    {"without_environment", without_environment}, {"again", again}, {"fails_first", fails_first},
    {"many_words", many_words}, {"locks_memory", locks_memory},
};

int main(int argc, char **argv) {
    if (readlink("/proc/self/exe", own_name, sizeof own_name - 1) < 0) return DID_NOT_HAPPEN;
    return run_part(all, sizeof all / sizeof *all, argc, argv);
}
