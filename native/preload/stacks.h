#pragma once
/* The alternate signal stacks on which our handlers run, and which the program does not see. */
#include <signal.h>
#include <stddef.h>

/* Gives the main thread a stack, and makes ready to give them to others. If memory is short their pages are touched first:
 * a handler can't wait for one. */
void prepare_stacks(int memory_is_short);

/* Gives the calling thread a signal stack. A thread calls this first; its ordinary stack has `bytes`. */
void take_stack(size_t bytes);

/* Gives the stack back; a thread calls this last. */
void give_stack_back(void *unused);

/* Whether this is the stack that we gave to the calling thread. */
int is_our_stack(const stack_t *stack);
