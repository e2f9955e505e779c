#pragma once

/* As serve() in faults.h, but each victim is a new process image: `command`, which ends with NULL, followed by the
 * words of the shot. */
int serve_fresh(int fd, char *const *command);

/* What this process has written so far, in large pieces, becomes a private mapping of a file with the same bytes: forks
 * share the pages that they don't touch, without a copy of their table entries. For a process with one thread. */
void settle(void);
