#pragma once
/* What /proc tells of a process and its threads; `proc` is its descriptor, since what is mounted there now may be another's. */
#include <stdint.h>
#include <sys/types.h>

#include "box/page.h"

enum { MOST_THREADS = 4096 };

/* Lists the ids of a process's threads. Returns how many there are. */
int list_threads(int proc, pid_t process, pid_t threads[MOST_THREADS]);

/* The process that the thread belongs to, or -1. */
pid_t process_of(int proc, pid_t thread);

/* Whether the signal goes to a handler. */
int is_caught(int proc, pid_t thread, int signal_number);

/* Fills in module and offset of the program counter. */
void find_place(int proc, pid_t thread, struct crash *crash);
