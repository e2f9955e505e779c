#pragma once
/* The server of the sweep and its children: the next one is there, and waits, while the present one makes its trial.
 *
 * All of this lies on pages that a fork shares. Each child has a number, counted from 1. */
#include <stdint.h>
#include <sys/types.h>

enum { MOST_RUNS = 2048, FIRST_FREE_FD = 200 };

/* What trials write to, in whole pages. */
struct touched {
    uint32_t count; /* 0: not known yet */
    struct {
        uint64_t start, bytes;
    } runs[MOST_RUNS];
};

struct turns {
    uint32_t begun; /* the child whose trial it is */
    uint32_t ended; /* the last child that had nothing left to do but to leave */
    struct touched touched;
};

/* What a child inherits. */
struct nest {
    struct turns *turns;
    pid_t server;
    int bell;            /* an eventfd: rings when a trial has ended */
    uint64_t data_bytes; /* private writable memory that a child may have; 0: any */
};

/* Makes what a fork shares. Returns 0 or -1. */
int make_nest(struct nest *nest);

/* Begins a child of the server: returns when it is its turn. */
void begin_child(const struct nest *nest, uint32_t number);

/* --- sweep_touched.c --- */

/* Learns which memory this process has, before its first fork. */
void learn_spans(void);

/* Notes which pages this child has copied from its server so far, if that is not known yet. */
void note_touched(struct touched *touched);

/* Copies them now, in a child that has not begun. */
void copy_touched(const struct touched *touched);
