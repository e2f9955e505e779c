#include "guard/init.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guard/charge.h"
#include "guard/survivors.h"
#include "guard/words.h"

enum { PATIENCE_MS = 10000 };

/* Programs look themselves up by pid in /proc, so it must be the namespace's own. */
static int mount_own_proc(void) {
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) return -1;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static _Noreturn void serve(int line) {
    struct charge charge = {.line = line};
    struct word word;
    while (hear_beside_children(line, &word, look_after_children, &charge) == 0) {
        switch (word.kind) {
        case CHARGE: charge.victim = word.number; break;
        case LET_GO: let_go(&charge); break;
        case SWEEP:
            say(line, &(struct word){.kind = SWEPT, .survivors = kill_survivors(1)});
            _exit(0);
        default: break;
        }
    }
    _exit(1);
}

/* The death signal reaches even an init that was stopped. A guard that died before it was set holds no end of the line,
 * which shows here. */
static _Noreturn void be_init(int line) {
    struct word word = {.kind = READY};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mount_own_proc() != 0) word.error = errno;
    if (say(line, &word) != 0 || word.error) _exit(1);
    keep_only((int[]){line, STDERR_FILENO}, 2);
    serve(line);
}

/* Waits for init's first word, which tells whether it could mount /proc. */
static int await_ready(const struct init *init) {
    struct word word;
    if (hear(init->line, &word, NULL, PATIENCE_MS) != 0) return -1;
    return word.error ? (errno = word.error, -1) : 0;
}

int start_init(struct init *init) {
    int ends[2];
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || open_line(ends) != 0) return -1;
    init->line = ends[0];
    init->pid = fork();
    if (init->pid == 0) {
        close(ends[0]);
        be_init(ends[1]);
    }
    close(ends[1]);
    return init->pid < 0 ? -1 : await_ready(init);
}
