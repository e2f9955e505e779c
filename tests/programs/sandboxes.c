/* sandboxes WHAT [NUMBER]: programs that shut themselves in and start another, and others that start one in odd ways. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "named.h"

#ifndef SYS_landlock_create_ruleset
enum { SYS_landlock_create_ruleset = 444, SYS_landlock_add_rule, SYS_landlock_restrict_self };
#endif

enum { EXECUTE_FILE = 1, WRITE_FILE = 2, READ_FILE = 4, BENEATH = 1, WORD = 100000, WORDS = 64 };

extern char **environ;
static char stack[65536];

static void told(const char *what, long number) {
    printf("%s %ld\n", what, number);
    fflush(stdout);
}

static void crashes(long unused) { (void)unused, say("here\n"), null(); }

static void execute_self(void) {
    char *words[] = {(char *)"sandboxes", (char *)"crashes", NULL};
    execve("/proc/self/exe", words, environ);
    _exit(DID_NOT_HAPPEN);
}

/* --- rules for files --- */

struct rule {
    uint64_t allowed;
    int32_t folder;
} __attribute__((packed));

static void allow(int rules, const char *folder) {
    struct rule rule = {EXECUTE_FILE | READ_FILE, open(folder, O_PATH | O_CLOEXEC)};
    if (rule.folder >= 0) syscall(SYS_landlock_add_rule, rules, BENEATH, &rule, 0);
}

/* Landlock, where there is one: the system's programs and this one may be read, and nothing else. */
static void reads_the_system_only(long unused) {
    static const char *const folders[] = {"/usr", "/bin", "/lib", "/lib64", "/etc", "/proc"};
    uint64_t handled = EXECUTE_FILE | WRITE_FILE | READ_FILE;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    (void)unused;
    for (size_t i = 0; rules >= 0 && i < sizeof folders / sizeof *folders; i++) allow(rules, folders[i]);
    allow(rules, "/proc/self/exe");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (rules < 0 || syscall(SYS_landlock_restrict_self, rules, 0) != 0) say("no rules\n");
    execlp("sh", "sh", "-c", "echo in; kill -SEGV $$", NULL);
}

/* --- filters that know what a small program needs, and answer the rest --- */

static void allows_what_it_needs(long answer) {
    static const int known[] = {SYS_execve, SYS_brk, SYS_mmap, SYS_openat, SYS_read, SYS_fstat, SYS_newfstatat, SYS_mprotect,
                                SYS_close, SYS_write, SYS_exit_group, SYS_set_tid_address, SYS_set_robust_list,
#if defined(__x86_64__)
                                SYS_arch_prctl, SYS_access,
#else
                                SYS_faccessat,
#endif
                                SYS_rseq, SYS_prlimit64, SYS_munmap, SYS_getrandom, SYS_pread64};
    enum { KNOWN = sizeof known / sizeof *known };
    struct sock_filter program[2 * KNOWN + 2];
    size_t length = 0;
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < KNOWN; i++) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)known[i], 0, 1);
        program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog whole = {(unsigned short)length, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) _exit(DID_NOT_HAPPEN);
    execute_self();
}

/* --- as many words as the kernel takes --- */

static char *words[WORDS + 1];

static int takes_words(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) execv("/bin/true", words), _exit(1);
    return waitpid(child, &status, 0) == child && status == 0;
}

static char *word_of(size_t length) {
    char *word = malloc(length + 1);
    if (!word) _exit(DID_NOT_HAPPEN);
    memset(word, 'x', length);
    word[length] = '\0';
    return word;
}

static void most_words(long unused) {
    size_t count = 1, low = 0, high = WORD;
    (void)unused;
    words[0] = (char *)"true";
    for (; count < WORDS; count++) {
        words[count] = word_of(WORD);
        if (!takes_words()) break;
    }
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        words[count] = word_of(middle);
        *(takes_words() ? &low : &high) = middle;
    }
    words[count] = word_of(low);
    execv("/bin/true", words);
    told("refused", errno);
}

/* --- children that share more, or less, than others --- */

static int crash_there(void *unused) {
    (void)unused;
    null();
    return 0;
}

static void clone_with(int flags) {
    int status = 0;
    pid_t child = clone(crash_there, stack + sizeof stack, flags, NULL);
    if (child > 0 && waitpid(child, &status, __WALL) == child) told("child", status & 0x7f);
    else told("no child", errno);
}

static void clones(long unused) {
    (void)unused;
    clone_with(SIGCHLD);
    clone_with(CLONE_VM | SIGCHLD);
    clone_with(CLONE_VM | CLONE_VFORK | SIGCHLD);
    clone_with(CLONE_VM | CLONE_SIGHAND | SIGCHLD);
    clone_with(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD);
    clone_with(CLONE_FILES | CLONE_FS);
    null();
}

/* A thread that no library knows crashes. */
static void unknown_thread(long unused) {
    (void)unused;
    clone(crash_there, stack + sizeof stack,
          CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL);
    for (;;) pause();
}

/* --- other ways to execute --- */

static void from_memory(long how) {
    char *arguments[] = {(char *)"again", (char *)"crashes", NULL}, part[65536];
    int from = open("/proc/self/exe", O_RDONLY), to = (int)syscall(SYS_memfd_create, "program", how & 1);
    for (ssize_t length; (length = read(from, part, sizeof part)) > 0;)
        if (write(to, part, (size_t)length) != length) _exit(DID_NOT_HAPPEN);
    close(from);
    if (how & 2) syscall(SYS_execveat, to, "", arguments, environ, AT_EMPTY_PATH);
    else fexecve(to, arguments, environ);
    told("refused", errno);
}

static void without_words(long how) {
    char *none[] = {NULL}, *empty[] = {(char *)"", NULL};
    execve("/proc/self/exe", how ? empty : none, environ);
    told("refused", errno);
}

static void by_instruction(long unused) {
    char *arguments[] = {(char *)"sandboxes", (char *)"crashes", NULL};
    (void)unused;
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_execve), "D"("/proc/self/exe"), "S"(arguments), "d"(environ)
                     : "rcx", "r11", "memory");
#endif
    execve("/proc/self/exe", arguments, environ);
}

static void with_fixed_addresses(long unused) {
    (void)unused;
    personality(ADDR_NO_RANDOMIZE | (unsigned long)personality(0xffffffff));
    execute_self();
}

static void undumpable(long unused) {
    (void)unused;
    prctl(PR_SET_DUMPABLE, 0);
    told("dumpable", prctl(PR_GET_DUMPABLE));
    null();
}

/* The lowest descriptor is the first that is free. */
static void closes_all(long unused) {
    (void)unused;
    for (int fd = 0; fd < 1024; fd++) close(fd);
    int fd = open("out", O_CREAT | O_WRONLY, 0600);
    dprintf(fd, "%d\n", fd);
    null();
}

int main(int argc, char **argv) {
    static const struct part parts[] = {
        {"crashes", crashes}, {"reads_the_system_only", reads_the_system_only},
        {"allows_what_it_needs", allows_what_it_needs}, {"most_words", most_words}, {"clones", clones},
        {"unknown_thread", unknown_thread}, {"from_memory", from_memory}, {"without_words", without_words},
        {"by_instruction", by_instruction}, {"with_fixed_addresses", with_fixed_addresses}, {"undumpable", undumpable},
        {"closes_all", closes_all},
    };
    if (argc < 2) told(argc ? argv[0] : "none", argc), null();
    return run_part(parts, sizeof parts / sizeof *parts, argc, argv);
}
