/* System calls, by their names. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "box/machine.h"

enum { MOST_ERROR = 4095 };

static long settled(long result) {
    if (result >= 0 || result < -MOST_ERROR) return result;
    errno = (int)-result;
    return -1;
}

#define SETTLED(...) settled(CALL(__VA_ARGS__))

/* Takes the words behind `last`; the kernel reads as many of them as the call has. */
#define TAKE_WORDS(words, count, last)                                  \
    va_list list;                                                       \
    va_start(list, last);                                               \
    for (int i = 0; i < (count); i++) (words)[i] = va_arg(list, long);  \
    va_end(list)

long syscall(long number, ...) {
    long words[6];
    TAKE_WORDS(words, 6, number);
    return settled(raw_call(number, words));
}

/* --- processes --- */

_Noreturn void _exit(int status) {
    for (;;) CALL(SYS_exit_group, status);
}

pid_t fork(void) { return (pid_t)SETTLED(SYS_clone, SIGCHLD); }

/* The function and what it takes are handed over on the new stack. */
#if defined(__x86_64__)
__asm__(".text\n.globl clone\nclone: and $-16, %rsi\nsub $16, %rsi\nmov %rdi, (%rsi)\nmov %rcx, 8(%rsi)\nmov %edx, %edi\n"
        "xor %edx, %edx\nxor %r10d, %r10d\nxor %r8d, %r8d\nmov $56, %eax\nsyscall\ntest %rax, %rax\njz 1f\n"
        "mov %rax, %rdi\njmp forked\n1: xor %ebp, %ebp\npop %rax\npop %rdi\ncall *%rax\nmov %eax, %edi\ncall _exit\n");
#else
__asm__(".text\n.globl clone\nclone: and x1, x1, #-16\nstp x0, x3, [x1, #-16]!\nmov w0, w2\nmov x2, #0\nmov x3, #0\n"
        "mov x4, #0\nmov x8, #220\nsvc 0\ncbz x0, 1f\nb forked\n1: ldp x1, x0, [sp], #16\nmov x29, #0\nmov x30, #0\n"
        "blr x1\nbl _exit\n");
#endif

/* The child uses our stack, and would return over the address that we return to: that is kept in a register. */
#if defined(__x86_64__)
__asm__(".text\n.globl vfork\nvfork: pop %rdx\nmov $58, %eax\nsyscall\npush %rdx\nmov %rax, %rdi\njmp forked\n");
#else
__asm__(".text\n.globl vfork\nvfork: mov x8, #220\nmov x0, #0x4111\nmov x1, #0\nsvc 0\nb forked\n");
#endif
pid_t forked(long result);
pid_t forked(long result) { return (pid_t)settled(result); }

int execve(const char *path, char *const words[], char *const environment[]) {
    return (int)SETTLED(SYS_execve, (long)path, (long)words, (long)environment);
}

int kill(pid_t pid, int number) { return (int)SETTLED(SYS_kill, pid, number); }
pid_t getpid(void) { return (pid_t)CALL(SYS_getpid, 0); }
pid_t getppid(void) { return (pid_t)CALL(SYS_getppid, 0); }
pid_t getpgid(pid_t pid) { return (pid_t)SETTLED(SYS_getpgid, pid); }
pid_t getpgrp(void) { return getpgid(0); }
int setpgid(pid_t pid, pid_t group) { return (int)SETTLED(SYS_setpgid, pid, group); }
uid_t geteuid(void) { return (uid_t)CALL(SYS_geteuid, 0); }
gid_t getegid(void) { return (gid_t)CALL(SYS_getegid, 0); }
int unshare(int kinds) { return (int)SETTLED(SYS_unshare, kinds); }
int setns(int fd, int kind) { return (int)SETTLED(SYS_setns, fd, kind); }

pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage) {
    return (pid_t)SETTLED(SYS_wait4, pid, (long)status, options, (long)usage);
}

pid_t waitpid(pid_t pid, int *status, int options) { return wait4(pid, status, options, NULL); }

int waitid(idtype_t kind, id_t id, siginfo_t *info, int options) {
    return (int)SETTLED(SYS_waitid, kind, id, (long)info, options, 0);
}

int prctl(int option, ...) {
    long words[4];
    TAKE_WORDS(words, 4, option);
    return (int)SETTLED(SYS_prctl, option, words[0], words[1], words[2], words[3]);
}

long ptrace(enum __ptrace_request request, ...) {
    long words[3];
    TAKE_WORDS(words, 3, request);
    return SETTLED(SYS_ptrace, request, words[0], words[1], words[2]);
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
    return (int)SETTLED(SYS_prlimit64, 0, resource, 0, (long)limit);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    return (int)SETTLED(SYS_prlimit64, 0, resource, (long)limit, 0);
}

/* The kernel fills in as many bytes as it has processors for. */
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
    long filled = SETTLED(SYS_sched_getaffinity, pid, (long)size, (long)set);
    for (size_t at = filled < 0 ? size : (size_t)filled; at < size; at++) ((char *)set)[at] = 0;
    return filled < 0 ? -1 : 0;
}

int __sched_cpucount(size_t size, const cpu_set_t *set) {
    int count = 0;
    for (size_t i = 0; i < size; i++)
        for (unsigned byte = ((const unsigned char *)set)[i]; byte; byte &= byte - 1) count++;
    return count;
}

/* --- files --- */

int openat(int folder, const char *path, int flags, ...) {
    long mode[1];
    TAKE_WORDS(mode, 1, flags);
    return (int)SETTLED(SYS_openat, folder, (long)path, flags, mode[0]);
}

int open(const char *path, int flags, ...) {
    long mode[1];
    TAKE_WORDS(mode, 1, flags);
    return openat(AT_FDCWD, path, flags, (mode_t)mode[0]);
}

int close(int fd) { return (int)SETTLED(SYS_close, fd); }
ssize_t read(int fd, void *bytes, size_t size) { return SETTLED(SYS_read, fd, (long)bytes, (long)size); }
ssize_t write(int fd, const void *bytes, size_t size) { return SETTLED(SYS_write, fd, (long)bytes, (long)size); }

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    return SETTLED(SYS_pread64, fd, (long)bytes, (long)size, offset);
}

int fstatat(int folder, const char *path, struct stat *status, int flags) {
    return (int)SETTLED(SYS_newfstatat, folder, (long)path, (long)status, flags);
}

int stat(const char *path, struct stat *status) { return fstatat(AT_FDCWD, path, status, 0); }
int fstat(int fd, struct stat *status) { return (int)SETTLED(SYS_fstat, fd, (long)status); }

/* Before Linux 5.8 there are no flags: then the real user is asked for. */
int faccessat(int folder, const char *path, int mode, int flags) {
    long result = flags ? CALL(SYS_faccessat2, folder, (long)path, mode, flags) : -ENOSYS;
    return (int)settled(result == -ENOSYS ? CALL(SYS_faccessat, folder, (long)path, mode) : result);
}

int access(const char *path, int mode) { return faccessat(AT_FDCWD, path, mode, 0); }
int unlinkat(int folder, const char *path, int flags) { return (int)SETTLED(SYS_unlinkat, folder, (long)path, flags); }
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int mkdirat(int folder, const char *path, mode_t mode) { return (int)SETTLED(SYS_mkdirat, folder, (long)path, mode); }

int linkat(int from, const char *path, int to, const char *name, int flags) {
    return (int)SETTLED(SYS_linkat, from, (long)path, to, (long)name, flags);
}

int chdir(const char *path) { return (int)SETTLED(SYS_chdir, (long)path); }
int dup2(int from, int to) { return from == to ? to : (int)SETTLED(SYS_dup3, from, to, 0); }
int pipe2(int ends[2], int flags) { return (int)SETTLED(SYS_pipe2, (long)ends, flags); }

ssize_t readlinkat(int folder, const char *path, char *target, size_t size) {
    return SETTLED(SYS_readlinkat, folder, (long)path, (long)target, (long)size);
}

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) {
    return SETTLED(SYS_fgetxattr, fd, (long)name, (long)value, (long)size);
}

int fcntl(int fd, int command, ...) {
    long word[1];
    TAKE_WORDS(word, 1, command);
    return (int)SETTLED(SYS_fcntl, fd, command, word[0]);
}

int ioctl(int fd, unsigned long request, ...) {
    long word[1];
    TAKE_WORDS(word, 1, request);
    return (int)SETTLED(SYS_ioctl, fd, (long)request, word[0]);
}

int poll(struct pollfd *polled, nfds_t count, int patience_ms) {
    struct timespec patience = {patience_ms / 1000, patience_ms % 1000 * 1000000L};
    return (int)SETTLED(SYS_ppoll, (long)polled, (long)count, patience_ms < 0 ? 0 : (long)&patience, 0, 0);
}

int mount(const char *source, const char *target, const char *kind, unsigned long flags, const void *data) {
    return (int)SETTLED(SYS_mount, (long)source, (long)target, (long)kind, (long)flags, (long)data);
}

/* --- sockets --- */

int socketpair(int domain, int kind, int protocol, int ends[2]) {
    return (int)SETTLED(SYS_socketpair, domain, kind, protocol, (long)ends);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    return (int)SETTLED(SYS_setsockopt, fd, level, name, (long)value, size);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
    return SETTLED(SYS_sendto, fd, (long)bytes, (long)size, flags);
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) { return SETTLED(SYS_recvfrom, fd, (long)bytes, (long)size, flags); }
ssize_t recvmsg(int fd, struct msghdr *message, int flags) { return SETTLED(SYS_recvmsg, fd, (long)message, flags); }

/* --- memory, clock, terminal --- */

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return (void *)SETTLED(SYS_mmap, (long)at, (long)size, protection, flags, fd, offset);
}

int mprotect(void *at, size_t size, int protection) { return (int)SETTLED(SYS_mprotect, (long)at, (long)size, protection); }
int munmap(void *at, size_t size) { return (int)SETTLED(SYS_munmap, (long)at, (long)size); }
int madvise(void *at, size_t size, int advice) { return (int)SETTLED(SYS_madvise, (long)at, (long)size, advice); }
int clock_gettime(clockid_t clock, struct timespec *now) { return (int)SETTLED(SYS_clock_gettime, clock, (long)now); }

/* The modes are the kernel's own, in a record that is larger, and are only given back. */
int tcgetattr(int fd, struct termios *modes) { return ioctl(fd, TCGETS, modes); }
int tcsetattr(int fd, int when, const struct termios *modes) { return ioctl(fd, (unsigned long)(TCSETS + when), modes); }
int tcsetpgrp(int fd, pid_t group) { return ioctl(fd, TIOCSPGRP, &group); }

pid_t tcgetpgrp(int fd) {
    pid_t group;
    return ioctl(fd, TIOCGPGRP, &group) == 0 ? group : -1;
}
