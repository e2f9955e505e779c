#pragma once
/* A process in a frozen cgroup of version 1 does not die of SIGKILL until it is thawed. */
#include <sys/types.h>

/* Thaws the frozen cgroups that hold this process. Those at or above our own place in the tree are not ours to touch. */
void thaw(int proc, pid_t pid);
