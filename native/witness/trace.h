#pragma once
/* A tracer, in a process of its own. On request only: under it EINTR comes where it otherwise does not, the victim can see
 * it, and programs that change the user do not for an ordinary one. So it lets go of a victim that handles a crash itself. */
#include <stdint.h>
#include <sys/types.h>

#include "box/page.h"

/* The tracer's pid; 0 where it can't trace, and the page says why. `proc` is the /proc of our own namespace. */
pid_t trace_begin(pid_t victim, int proc, struct box *page);

/* To be called when the victim has ended. */
void trace_end(pid_t tracer);
