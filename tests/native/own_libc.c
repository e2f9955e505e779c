/* What the guard's own C library answers, held against what the standard says. Names the lines that are wrong, and exits
 * with 1 where there are any. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_wrong;

static void check(int is_right, int line) {
    char text[32];
    if (is_right) return;
    snprintf(text, sizeof text, "line %d\n", line);
    write(2, text, strlen(text));
    is_wrong = 1;
}

#define CHECK(...) check(__VA_ARGS__, __LINE__)

static void check_format(void) {
    char text[64];
    CHECK(snprintf(text, sizeof text, "%d %u %x %lu %llu %ld", -2147483647 - 1, 4294967295u, 0xabcu, ~0ul, ~0ull, -1l) == 71);
    CHECK(strcmp(text, "-2147483648 4294967295 abc 18446744073709551615 184467440737095") == 0);
    CHECK(snprintf(text, sizeof text, "%.3s|%.*s|%s|%c|%%", "abcdef", 2, "xyz", "", 'q') == 11);
    CHECK(strcmp(text, "abc|xy||q|%") == 0);
    CHECK(snprintf(text, 4, "%s", "abcdef") == 6 && strcmp(text, "abc") == 0);
    CHECK(snprintf(NULL, 0, "%d", 0) == 1);
}

static void check_scan(void) {
    int number = 0, parent = 0;
    unsigned long start = 0, end = 0;
    char path[64] = "";
    CHECK(sscanf(" S 42 7", " %*c %d", &parent) == 1 && parent == 42);
    CHECK(sscanf("Tgid:\t  -17\n", "Tgid: %d", &number) == 1 && number == -17);
    CHECK(sscanf("Pid: 1", "Tgid: %d", &number) == 0);
    CHECK(sscanf("7f00-7fff r-xp 00000000 fe:00 12   /a b\n", "%lx-%lx %*s %*s %*s %*s %63[^\n]", &start, &end, path) == 3);
    CHECK(start == 0x7f00 && end == 0x7fff && strcmp(path, "/a b") == 0);
    CHECK(sscanf("7f00-7fff r-xp 00000000 00:00 0\n", "%lx-%lx %*s %*s %*s %*s %63[^\n]", &start, &end, path) == 2);
    CHECK(sscanf("abcdef", "%3s", path) == 1 && strcmp(path, "abc") == 0);
}

static void check_text(void) {
    char text[16] = "a/b/c";
    CHECK(strrchr(text, '/') == text + 3 && strchr(text, 'x') == NULL && strchr(text, 0) == text + 5);
    CHECK(*strchrnul(text, 'x') == 0 && strcspn(text, "/") == 1 && strpbrk(text, "xc") == text + 4);
    CHECK(strstr(text, "b/") == text + 2 && strstr(text, "bb") == NULL && strstr(text, "") == text);
    CHECK(strncmp("abc", "abd", 2) == 0 && strcmp("abc", "abd") < 0 && strcmp("\xff", "a") > 0 && strcmp("a", "ab") < 0);
    CHECK(memchr(text, 'b', 2) == NULL && memchr(text, 'b', 3) == text + 2 && memcmp("ab\0c", "ab\0d", 4) < 0);
    memmove(text + 1, text, 5);
    CHECK(memcmp(text, "aa/b/c", 6) == 0);
    CHECK(strtol(" -12x", NULL, 10) == -12 && strtoull("ff", NULL, 16) == 255 && strtoll("", NULL, 10) == 0);
    CHECK(strtoull("18446744073709551615", NULL, 10) == ~0ull && strcmp(strerror(EPERM), "Operation not permitted") == 0);
    CHECK(strcmp(strerror(9999), "error 9999") == 0);
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void check_memory(void) {
    int numbers[257];
    for (int i = 0; i < 257; i++) numbers[i] = i * 91 % 257;
    qsort(numbers, 257, sizeof *numbers, by_value);
    for (int i = 0; i < 257; i++) CHECK(numbers[i] == i);
    char *piece = calloc(3, 5000);
    CHECK(piece && piece[14999] == 0);
    free(piece);
    free(NULL);
    CHECK(calloc(~0ul / 2, 4) == NULL);
    CHECK(getenv("OWN_LIBC") == NULL && setenv("OWN_LIBC", "1", 1) == 0 && strcmp(getenv("OWN_LIBC"), "1") == 0);
    CHECK(setenv("OWN_LIBC", "2", 0) == 0 && strcmp(getenv("OWN_LIBC"), "1") == 0);
    CHECK(setenv("OWN_LIBC", "22", 1) == 0 && strcmp(getenv("OWN_LIBC"), "22") == 0 && getenv("OWN_LIB") == NULL);
    CHECK(sysconf(_SC_PAGESIZE) >= 4096);
}

static void check_files(void) {
    char line[8];
    int entries = 0, number = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    CHECK(file && fgets(line, sizeof line, file) && strlen(line) == 7);
    fclose(file);
    CHECK(fopen("/proc/self/nothing", "re") == NULL && errno == ENOENT);
    file = fopen("/proc/sys/kernel/pid_max", "re");
    CHECK(file && fscanf(file, "%d", &number) == 1 && number > 100);
    fclose(file);
    DIR *folder = opendir("/proc/self");
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        entries += strcmp(entry->d_name, "stat") == 0 || strcmp(entry->d_name, "maps") == 0;
    CHECK(entries == 2);
    closedir(folder);
}

static int fails_beside(void *context) {
    errno = 0;
    close(-1);
    return errno == EBADF ? *(int *)context : 1;
}

/* A process that shares our memory leaves our errors alone. */
static void check_processes(void) {
    int status = 0, kept = 23;
    char *stack = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = ENOTTY;
    pid_t beside = clone(fails_beside, stack + (1 << 16), CLONE_VM | SIGCHLD, &kept);
    CHECK(waitpid(beside, &status, 0) == beside && WEXITSTATUS(status) == 23 && errno == ENOTTY);
    pid_t borrower = vfork();
    if (borrower == 0) {
        kept = 24;
        _exit(5);
    }
    CHECK(waitpid(borrower, &status, 0) == borrower && WEXITSTATUS(status) == 5 && kept == 24);
    pid_t other = fork();
    if (other == 0) _exit(kept = 6);
    CHECK(waitpid(other, &status, 0) == other && WEXITSTATUS(status) == 6 && kept == 24);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
}

static void check_options(void) {
    char *words[] = {"x", "--deep", "5", "--flat", "--", "--deep", NULL};
    static const struct option options[] = {{"deep", required_argument, NULL, 'd'}, {"flat", no_argument, NULL, 'f'}, {0}};
    CHECK(getopt_long(6, words, "+", options, NULL) == 'd' && strcmp(optarg, "5") == 0);
    CHECK(getopt_long(6, words, "+", options, NULL) == 'f' && getopt_long(6, words, "+", options, NULL) == -1 && optind == 5);
}

static void check_signals(void) {
    sigset_t set, before;
    sigfillset(&set);
    CHECK(sigprocmask(SIG_SETMASK, &set, &before) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    kill(getpid(), SIGUSR1);
    siginfo_t info;
    CHECK(sigtimedwait(&set, &info, &(struct timespec){1, 0}) == SIGUSR1 && info.si_pid == getpid());
    CHECK(sigtimedwait(&set, &info, &(struct timespec){0, 1000}) == -1 && errno == EAGAIN);
    CHECK(signal(SIGUSR2, SIG_IGN) == SIG_DFL && signal(SIGUSR2, SIG_DFL) == SIG_IGN && signal(SIGKILL, SIG_IGN) == SIG_ERR);
}

int main(void) {
    check_format();
    check_scan();
    check_text();
    check_memory();
    check_files();
    check_processes();
    check_options();
    check_signals();
    return is_wrong;
}
