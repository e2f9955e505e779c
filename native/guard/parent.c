#include "guard/parent.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guard/charge.h"
#include "guard/survivors.h"
#include "guard/victim.h"
#include "guard/words.h"

enum { PATIENCE_MS = 10000 };

/* A guard that is gone can't end the victim any more, nor what that leaves behind. */
static _Noreturn void serve(struct charge *charge, int has_init) {
    struct word word = {.kind = NOTHING};
    while (word.kind != LET_GO) {
        if (hear_beside_children(charge->line, &word, look_after_children, charge) == 0) continue;
        kill(charge->victim, SIGKILL);
        if (!has_init) kill_survivors(0);
        _exit(1);
    }
    let_go(charge);
    _exit(0);
}

/* The victim is born into our group, which the guard then takes us out of: so it leads none and may call setsid(), and
 * what it sends to its group can't hit us. Until it is a program of its own it has our memory, and we sleep; but one that is
 * to be watched has a memory that may be looked at. */
static _Noreturn void be_parent(const struct order *order, const struct cgroups *cgroups, int line, int victim_line) {
    struct charge charge = {.line = line};
    setpgid(0, 0);
    if (!order->own_namespace) prctl(PR_SET_CHILD_SUBREAPER, 1);
    charge.victim = order->witness ? fork() : vfork();
    if (charge.victim == 0) become_victim(order, cgroups, victim_line);
    if (charge.victim < 0) {
        say(victim_line, &(struct word){.kind = FAILED, .number = STEP_FORK, .error = errno});
        _exit(1);
    }
    keep_only((int[]){line, STDERR_FILENO}, 2);
    serve(&charge, order->own_namespace);
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
    parent->pid = fork();
    if (parent->pid == 0) {
        close(ends[0]);
        close(victim_ends[0]);
        be_parent(order, cgroups, ends[1], victim_ends[1]);
    }
    close(ends[1]);
    close(victim_ends[1]);
    return parent->pid < 0 ? -1 : meet_victim(parent, step);
}
