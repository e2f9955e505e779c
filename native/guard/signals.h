#pragma once
#include <stdint.h>

/* Blocks every signal: nothing but a word of the supervisor's ends the guard, and a stray SIGTERM can't orphan the victim.
 * An inherited SIG_IGN for SIGCHLD would have the kernel reap the victim and lose its status: that is taken back. */
void set_signals_aside(void);

/* For the victim: restores the mask and the ignored signals as they were, except SIGPIPE and SIGXFSZ, which every Python
 * ignores on its own account. Of the C library's own signals nobody can tell here what they were: those in `ignored` are
 * ignored, a bit each. A `clean` victim begins with nothing ignored and nothing blocked. */
void give_signals_back(int clean, uint64_t ignored);

/* A descriptor that is readable when a child has ended, stopped or gone on, until that is drained; -1 with errno. */
int open_child_signals(void);
void drain_child_signals(int fd);
