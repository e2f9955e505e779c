#pragma once
/* What the victim's parent has to do for it. Two processes may become its parent: the one that forked it, and the one that
 * inherits it when the first is killed. */
#include <sys/types.h>

#include "guard/words.h"

struct charge {
    pid_t victim; /* 0: not known yet */
    int line;     /* to the guard */
};

/* For hear_beside_children(): reaps every child that has ended but the victim, whose pid must not be another's while it
 * may still be signalled, and tells the guard when the victim was stopped. `context` is a charge. */
void look_after_children(void *context);

/* Reaps the victim, which has ended, and tells the guard how it did. */
void let_go(const struct charge *charge);

/* Reaps the victim and writes the answer into `word`. Returns 0, or -1 with the errno in the word. */
int reap_victim(pid_t victim, struct word *word);
