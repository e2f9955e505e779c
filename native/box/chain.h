#pragma once
/* The chain of crash signals in a box, written by signal handlers of several threads at once. Async-signal-safe. */
#include <signal.h>
#include <ucontext.h>

#include <stdint.h>

#include "box/page.h"

/* Who records a crash: its ids, 0 where they are not known, and whether it may make system calls. A filter of the program's
 * own may answer one by death. */
struct writer {
    int32_t process, thread;
    int may_call;
};

/* A mark lives in the frame of our handler while that calls the program's own. As long as the stack still holds it, the
 * program's handler is at work. `order` tells whether the link is still the same record. */
struct mark {
    struct link *link;
    uint64_t order;
};

/* Adds a crash. A link that is over makes room, the oldest first. Where all are open the newest makes room, so that the
 * first seven, where it all began, and the last one stay. The mark has no link if there was no room. */
struct mark chain_add(struct box *box, struct crash crash, struct writer writer);

/* Records the signal that a handler got. `frame` is where the mark will live if the program's own handler is to be called,
 * or NULL. */
struct mark chain_record(struct box *box, const siginfo_t *info, const ucontext_t *context, struct writer writer,
                         const struct mark *frame);

/* The handler that took the signal has returned. */
void chain_returned(struct mark mark);

/* Sets the name that records give to the main program; the text must live as long as the program. Without it they give the
 * path that was executed, which for a script is the script's. */
void chain_name_program(const char *name);
