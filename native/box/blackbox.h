#pragma once
/* The victim's side of the box. */
#include <pthread.h>
#include <stdint.h>

#include "faults/faults.h"

#define BOX_MAGIC 0x58424843u /* "CHBX" */

/* The mapped box, or NULL in a process that is no victim. */
struct box *armed_box(void);

/* Whether the calling process is the one that was armed: a child that it forked is not. Async-signal-safe. */
int is_victim(void);

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* By `create`, a thread with an alternate signal stack of its own. 0, or the error number. */
int create_recorded(create_thread *create, pthread_t *thread, const pthread_attr_t *attributes,
                    void *(*body)(void *), void *argument);

/* For a process whose forks die one at a time: they use one signal stack, so no page of it is copied. 0, or -1. */
int share_signal_stack(void);

/* For a fork of an armed process: the box becomes its own, handlers and signal stack are inherited. */
void rearm(void);
