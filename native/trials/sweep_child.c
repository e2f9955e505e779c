/* A child of the sweep's server, which makes one trial. It is forked while another makes its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trials/sweep.h"
#include "trials/sweep_turns.h"

static const struct nest *home;
static uint32_t mine;

int make_nest(struct nest *nest) {
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    nest->server = getpid();
    nest->turns = mmap(NULL, sizeof *nest->turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    nest->bell = fcntl(bell, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    close(bell);
    return nest->turns == MAP_FAILED || nest->bell < 0 ? -1 : 0;
}

/* A server that ends takes with it whoever waits. */
static void await_turn(const uint32_t *begun) {
    for (uint32_t seen; (seen = __atomic_load_n(begun, __ATOMIC_ACQUIRE)) != mine;)
        syscall(SYS_futex, begun, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void limit_data(uint64_t bytes) {
    struct rlimit limit;
    if (!bytes || getrlimit(RLIMIT_DATA, &limit) != 0 || bytes >= limit.rlim_cur) return;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_DATA, &limit);
}

void begin_child(const struct nest *nest, uint32_t number) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != nest->server) _exit(127);
    home = nest;
    mine = number;
    limit_data(nest->data_bytes);
    watch_crashes();
    copy_touched(&nest->turns->touched);
    await_turn(&nest->turns->begun);
}

/* Whether nobody but this thread can do anything any more: each thread has a folder, and a folder has two links more
 * than folders in it. */
static int is_alone(void) {
    struct stat tasks;
    siginfo_t none;
    if (stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink != 3) return 0;
    return waitid(P_ALL, 0, &none, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD;
}

/* Ends this child. What is left of it is torn down while the supervisor judges what it has said. */
INTERPOSED void sweep_end(void) {
    struct turns *turns = home->turns;
    if (sweep->order.record) note_touched(&turns->touched);
    if (is_alone()) {
        __atomic_store_n(&turns->ended, mine, __ATOMIC_RELEASE);
        eventfd_write(home->bell, 1);
    }
    _exit(0);
}
