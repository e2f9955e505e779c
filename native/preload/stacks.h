#pragma once
/* The alternate signal stacks on which our handlers run, and which the program does not see. */
#include <signal.h>
#include <stddef.h>

/* For the main thread, and the means to give them to others. When memory is short a handler can't wait for a page. */
void prepare_stacks(int memory_is_short);

/* For a thread that calls this first, with an ordinary stack of `bytes`. */
void take_stack(size_t bytes);

/* What it calls last. */
void give_stack_back(void *unused);

/* Whether it is the calling thread's of ours. */
int is_our_stack(const stack_t *stack);
