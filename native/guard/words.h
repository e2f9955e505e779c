#pragma once
/* What the guard's processes say to each other, over sockets that keep each word whole. */
#include <stdint.h>
#include <sys/types.h>

enum kind {
    NOTHING, /* somebody who has no say: not to be heeded */
    HELLO,   /* victim: I am here, and wait; `number` and `group` are what it calls itself and its group */
    GO,      /* guard: become what you are to be */
    FAILED,  /* victim or parent: `number` is the step, `error` its errno */
    CHARGE,  /* guard to init: `number` is the victim, should its parent be killed */
    STOPPED, /* whoever is its parent: the victim was stopped by signal `number` */
    LET_GO,  /* guard to whoever is its parent: reap the victim */
    GONE,    /* the answer: `number` is its wait status, unless there is an `error` */
    READY,   /* init: `error` is 0, or why init could not be set up */
    SWEEP,   /* guard to init: end what is left */
    SWEPT,   /* the answer: `survivors` had to be killed, or -1 */
};

struct word {
    uint32_t kind;
    int32_t number, error, survivors, group, reserved;
    uint64_t peak_rss_bytes, cpu_us;
};

/* Opens a line between two processes. At the first end the kernel tells who has spoken. Returns 0, or -1 with errno. */
int open_line(int ends[2]);

/* Sends a word. Returns 0, or -1 with errno if nobody holds the other end. */
int say(int fd, const struct word *word);

/* Waits for a word, for ever if the patience is negative. `speaker`, unless NULL, gets the speaker's pid from the kernel,
 * as our own namespace has it. Returns 0, or -1 with ETIMEDOUT, or with EPIPE if nobody holds the other end. */
int hear(int fd, struct word *word, pid_t *speaker, int patience_ms);

/* Sends a word that is to be answered. Words that came before are no answer to it, and are dropped. Returns 0 or -1. */
int ask(int fd, const struct word *word);

/* Waits for an answer of that kind. After each word of another kind the time begins anew. Returns 0 or -1. */
int await(int fd, enum kind answer, struct word *heard, int patience_ms);

/* Waits for a word as hear() does, for ever, and calls `changed` whenever a child has ended, stopped or gone on. */
int hear_beside_children(int fd, struct word *word, void (*changed)(void *), void *context);

/* Closes every descriptor but these. */
void keep_only(const int *kept, int count);
