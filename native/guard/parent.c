#include "guard/parent.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "box/handover.h"
#include "guard/charge.h"
#include "guard/survivors.h"
#include "guard/victim.h"
#include "guard/words.h"

enum { PATIENCE_MS = 10000, MOST_SWEEPS = 12, STACK_BYTES = 256 << 10, LISTS = 4, PAGE_BYTES = 64 << 10 };

extern char **environ;

/* Where the parent begins: at the upper end of a stack of its own. */
struct birth {
    const struct order *order;
    const struct cgroups *cgroups;
    int line, victim_line, others[2]; /* the guard's ends */
};

/* Reaps the victim and kills what it left behind. The guard may be dead by now: then nobody hears the answers, and all is
 * done all the same. */
static _Noreturn void end(struct charge *charge, const struct order *order) {
    let_go(charge);
    for (int times = 0; !order->own_namespace && times < MOST_SWEEPS; times++) {
        struct word word = {.kind = SWEPT, .survivors = kill_survivors(0)};
        if (say(charge->line, &word) == 0 || word.survivors >= 0) break;
    }
    if (order->box_file) unlink(order->box_file);
    _exit(0);
}

/* Serves the guard until it lets go of the victim, or is gone: then nobody else would end the victim and what it leaves
 * behind. */
static _Noreturn void serve(struct charge *charge, const struct order *order) {
    struct word word = {.kind = NOTHING};
    while (word.kind != LET_GO) {
        if (hear_beside_children(charge->line, &word, look_after_children, charge) == 0) continue;
        kill(charge->victim, SIGKILL);
        break;
    }
    end(charge, order);
}

/* The victim is born into our group, and then the guard moves us out of it: so the victim leads no group and may call
 * setsid(), and what it sends to its group can't hit us. Until its exec it works in our memory while we sleep, unless it is
 * to be watched: a watched victim has memory of its own, which a tracer may look at. */
static int be_parent(void *context) {
    const struct birth *birth = context;
    const struct order *order = birth->order;
    struct charge charge = {.line = birth->line};
    close(birth->others[0]);
    close(birth->others[1]);
    setpgid(0, 0);
    if (!order->own_namespace) prctl(PR_SET_CHILD_SUBREAPER, 1);
    charge.victim = order->witness ? fork() : vfork();
    if (charge.victim == 0) become_victim(order, birth->cgroups, birth->victim_line);
    if (charge.victim < 0) {
        say(birth->victim_line, &(struct word){.kind = FAILED, .number = STEP_FORK, .error = errno});
        _exit(1);
    }
    keep_only((int[]){birth->line, STDERR_FILENO}, 2);
    serve(&charge, order);
}

/* Which memory the parent has. A victim in a namespace sees its parent, and as root may read it: so there the parent has a
 * copy, without the guard's memory. Elsewhere it shares the guard's, since a copy costs as much as all the rest. The
 * system's C library does not allow for that; the guard's own does. */
static int sharing(const struct order *order) {
#ifdef WITH_OWN_LIBC
    return order->own_namespace ? 0 : CLONE_VM;
#else
    return (void)order, 0;
#endif
}

/* Forks the parent. Its stack has room for lists of all the words and variables, which the victim makes before its exec. */
static pid_t begin_parent(const struct birth *birth) {
    size_t words = count_strings(birth->order->command) + count_strings(environ);
    size_t size = PAGE_BYTES + STACK_BYTES + LISTS * sizeof(char *) * words;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, PAGE_BYTES, PROT_NONE) != 0) return -1;
    struct birth *kept = (struct birth *)(stack + size - size % sizeof(long)) - 1;
    *kept = *birth;
    return clone(be_parent, kept, sharing(birth->order) | SIGCHLD, kept);
}

static int meet_victim(struct parent *parent, int32_t *step) {
    struct word word;
    *step = STEP_FORK;
    if (hear(parent->victim_line, &word, &parent->victim, PATIENCE_MS) != 0) return -1;
    parent->victim_there = word.number;
    parent->group_there = word.group;
    if (word.kind == HELLO) return setpgid(parent->pid, getpgrp());
    *step = word.number;
    return errno = word.error, -1;
}

int start_parent(struct parent *parent, const struct order *order, const struct cgroups *cgroups, int32_t *step) {
    int ends[2], victim_ends[2];
    *step = STEP_FORK;
    if (open_line(ends) != 0 || open_line(victim_ends) != 0) return -1;
    parent->line = ends[0];
    parent->victim_line = victim_ends[0];
    parent->pid = begin_parent(&(struct birth){order, cgroups, ends[1], victim_ends[1], {ends[0], victim_ends[0]}});
    close(ends[1]);
    close(victim_ends[1]);
    return parent->pid < 0 ? -1 : meet_victim(parent, step);
}
