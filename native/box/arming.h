#pragma once
/* Arms a process that carries the faults itself. */
#include <pthread.h>

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* Starts a thread, by `create`, that has an alternate signal stack of its own. Returns 0, or the error number. */
int create_recorded(create_thread *create, pthread_t *thread, const pthread_attr_t *attributes,
                    void *(*body)(void *), void *argument);

/* For a process whose forks die one at a time: they all use one signal stack, so no page of it is copied. Returns 0 or
 * -1. */
int share_signal_stack(void);

/* For a fork of an armed process: makes the box its own. It has inherited handlers and signal stack. */
void rearm(void);
