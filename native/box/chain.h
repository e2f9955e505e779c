#pragma once
/* The chain of crash signals in a box, written by signal handlers of several threads at once. Async-signal-safe. */
#include <signal.h>
#include <ucontext.h>

#include <stdint.h>

#include "box/page.h"

/* Where a record was written; `order` tells whether it is still that record. */
struct mark {
    struct link *link;
    uint32_t order;
};

/* Who records: ids, 0 where they are not known; and whether it may make system calls, which a filter of the program's own
 * may answer by death. */
struct writer {
    int32_t process, thread;
    int may_call;
};

/* Records the signal. A link that is over makes room, the oldest first; where all are open the newest does, so that the
 * first seven, where it all began, and the last one stay. No link in the mark: there was no room. */
struct mark chain_record(struct box *box, const siginfo_t *info, const ucontext_t *context,
                         struct writer writer);

/* The handler that took the signal has returned. */
void chain_returned(struct mark mark);

/* The name under which the main program stands in records. To be called before the first. */
void chain_name_program(void);

/* What the reader compares. */
uint32_t chain_checksum(const struct crash *crash);
