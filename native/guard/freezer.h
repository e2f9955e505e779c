#pragma once
/* What hangs in a freezer of cgroup version 1 can't be killed. */
#include <sys/types.h>

/* Thaws what holds this process, as far up as our own place in the tree: that is not ours to touch. */
void thaw(int proc, pid_t pid);
