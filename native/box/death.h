#pragma once
/* How a process dies of a crash signal that it leaves to the kernel: recorded, and of the very same signal. */
#include <signal.h>

/* The action that records and dies. */
struct sigaction deadly_action(void);

/* The same, out of another handler. `signal_number` must be at its default, and blocked. Returns; the signal strikes when
 * the handler does. */
void die_of(int signal_number, siginfo_t *info, void *context);
