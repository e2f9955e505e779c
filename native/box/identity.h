#pragma once
/* How guard and preloaded library mean the same process: by its pid, and the PID namespace in which it has it. A
 * program that the victim starts in a namespace of its own may have the victim's number. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRELOAD_VARIABLE "LD_PRELOAD"
#define FD_VARIABLE "CRASH_BOX_FD"
#define VICTIM_VARIABLE "CRASH_BOX_VICTIM"

enum { IDENTITY_BYTES = 64 };

/* Writes the identity of the calling process. Without /proc the namespace is 0, in the guard as in the library. */
static inline void write_identity(char text[IDENTITY_BYTES]) {
    struct stat space = {0};
    if (stat("/proc/self/ns/pid", &space) != 0) space.st_ino = 0;
    snprintf(text, IDENTITY_BYTES, "%d@%llu", (int)getpid(), (unsigned long long)space.st_ino);
}
