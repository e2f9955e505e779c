#pragma once
/* A second witness, which the victim knows nothing of. What it saw stands in a page that the victim can't reach, in the
 * form of a box. */
#include <stdint.h>
#include <sys/types.h>

#include "box/page.h"

enum witness_kind {
    NO_WITNESS,
    PERF, /* the kernel's count of page faults that it could not serve, and with the rights for it each signal as delivered */
    TRACE /* a tracer, which sees all and disturbs some: EINTR, TracerPid, set-uid programs */
};

struct witness {
    enum witness_kind kind;
    pid_t victim;
    int proc; /* the /proc of our own namespace */
    struct box *page;
    struct perf *perf;
    pid_t tracer;
};

/* To be called while the victim waits for its exec. Where it can't watch, the reason stands in the page. */
void witness_begin(struct witness *witness);

/* To be called when the victim has ended: what was seen is in the page then. */
void witness_end(struct witness *witness, int wait_status);

/* For witnesses: notes why there is nothing to see: "WHAT: the text of the error". */
void witness_fails(struct box *page, const char *what, int error);
