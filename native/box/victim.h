#pragma once
/* Which process the box is for, and what its signal handlers may do. */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "box/chain.h"
#include "box/page.h"

enum { BOX_BYTES = 4096, CRASH_SIGNALS = 7 };

extern const int crash_signals[CRASH_SIGNALS];

/* Maps the page behind `fd` and touches it, so that it is in memory. Returns NULL for what is no box. */
struct box *map_box(int fd);

/* Makes the calling process the victim, and `page` its box. Returns 0 or -1. */
int adopt_box(struct box *page);

/* Does the same for a fork of a victim, which has no box until then. */
void renew_victim(void);

/* The mapped box, or NULL in a process that never was a victim. */
struct box *armed_box(void);

/* Whether the calling process is the one that was armed: what it forked is not. Async-signal-safe. */
int is_victim(void);

/* Whether the caller is a child by vfork() of the one that was armed, and works in its memory. */
int borrows_memory(void);

/* Notes the calling thread's id for a time when it can't be asked for any more. */
void note_thread(void);

/* Notes that a filter for system calls is in force from here on, or may be. */
void note_filter(void);
int has_filter(void);

/* What a signal handler on this thread may do. */
struct writer writer_here(void);
