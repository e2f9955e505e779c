#pragma once
/* How a process dies of a crash signal that it does not handle: the crash is recorded, and the process dies of the very
 * same signal. */
#include <signal.h>

/* The action that records and dies. */
struct sigaction deadly_action(void);

/* Does the same from inside another handler. The signal's action must be the default one, and the signal blocked. This
 * function returns, and the signal strikes when the handler returns. */
void die_of(int signal_number, siginfo_t *info, void *context);
