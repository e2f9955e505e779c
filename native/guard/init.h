#pragma once
/* The first process of the victim's PID namespace: what the victim starts can't leave it, can't signal out of it, and
 * ends with it. It reaps what has no other parent, as the machine's own init would, and is nobody's parent by birth. */
#include <sys/types.h>

struct init {
    pid_t pid; /* 0: there is none, since the victim has no namespace of its own */
    int line;
};

/* Gives the caller's later children a PID namespace of their own, and the caller and them a mount namespace with its
 * /proc. 0, or -1 with errno when the kernel does not allow it. */
int start_init(struct init *init);
