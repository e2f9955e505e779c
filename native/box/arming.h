#pragma once
/* Arms a process that carries the faults itself. */
#include <pthread.h>

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* By `create`, a thread with an alternate signal stack of its own. 0, or the error number. */
int create_recorded(create_thread *create, pthread_t *thread, const pthread_attr_t *attributes,
                    void *(*body)(void *), void *argument);

/* For a process whose forks die one at a time: they use one signal stack, so no page of it is copied. 0, or -1. */
int share_signal_stack(void);

/* For a fork of an armed process: the box becomes its own, handlers and signal stack are inherited. */
void rearm(void);
