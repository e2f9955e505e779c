#pragma once
/* What stands behind the names that the library interposes: the next library's function, so that a malloc and a free of the
 * same one stay together; and where that would be no more than a system call, the system call. */
#include <pthread.h>
#include <signal.h>

#define INTERPOSED __attribute__((visibility("default")))

enum name { SIGACTION, SIGNAL, SIGSET, SIGINTERRUPT, PTHREAD_CREATE, NAMES };

/* NULL where there is no such function. */
void *real(enum name name);

/* Looks a name up by RTLD_NEXT, once. Returns NULL while dlsym() itself allocates, which it can do without. */
void *find_next(void **found, const char *name);

/* Whether an address lies in this library. */
int is_ours(const void *address);

int real_sigaction(int signal_number, const struct sigaction *action, struct sigaction *old);

/* The C library's own, past all others, for a time when no other can have a say yet. */
int first_sigaction(int signal_number, const struct sigaction *action, struct sigaction *old);

/* A system call as the C library makes it: -1, and errno. */
long call_kernel(long number, const long words[6]);
