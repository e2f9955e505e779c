#pragma once
/* The chain of crash signals in a box, written by signal handlers of several threads at once. Async-signal-safe. */
#include <signal.h>
#include <ucontext.h>

#include <stdint.h>

#include "box/page.h"

/* Who records: ids, 0 where they are not known; and whether it may make system calls, which a filter of the program's own
 * may answer by death. */
struct writer {
    int32_t process, thread;
    int may_call;
};

/* Lives in the frame of a handler that stands in front of the program's own, and so tells how far that has come: what
 * the stack holds there later is something else. `order` tells whether the link is still the same record. */
struct mark {
    struct link *link;
    uint64_t order;
};

/* Adds a crash. A link that is over makes room, the oldest first; where all are open the newest does, so that the first
 * seven, where it all began, and the last one stay. No link in the mark: there was no room. */
struct mark chain_add(struct box *box, struct crash crash, struct writer writer);

/* Records the signal that a handler got. `frame` is where the mark will live if the program's own handler is to be called,
 * or NULL. */
struct mark chain_record(struct box *box, const siginfo_t *info, const ucontext_t *context, struct writer writer,
                         const struct mark *frame);

/* The handler that took the signal has returned. */
void chain_returned(struct mark mark);

/* The name under which the main program stands in records, which lives as long as it. Without one it is the path by which
 * it was executed: of a script the script. */
void chain_name_program(const char *name);
