#pragma once
/* What the kernel tells of another process, through an instance of /proc that the victim can't put anything over. */
#include <sys/types.h>

enum shown {
    SHOWN,
    HIDDEN, /* from us, as a process of another user's is */
    ABSENT, /* it has not ended, or is reaped */
};

/* Opens /proc as it is now: of our own PID namespace, whatever is mounted there later. -1 with errno. */
int open_proc(void);

/* The wait status of a process that has ended and is not reaped. Where it is hidden, the kernel shows a zero in its place,
 * which would look like a success. */
enum shown shown_status(int proc, pid_t pid, int *status);
