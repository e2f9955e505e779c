#pragma once
/* What is to be fired, read from words: FAULT MODE [NAME=VALUE...]. */
#include <stdint.h>

#include "faults/faults.h"

struct aim {
    int fault; /* -1: there is no such row */
    enum mode mode;
    int64_t values[PARAMETERS];
};

/* Reads the words; a value that no word gives is the row's own. Returns 0, or -1 for words that mean nothing. */
int read_aim(int count, char *const *words, struct aim *aim);

/* fire() at it. */
int fire_at(const struct aim *aim);
