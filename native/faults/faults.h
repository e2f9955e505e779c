#pragma once
/* The catalogue's vocabulary. This file is the C header and the cffi cdef at once, so it holds no other
 * directive: include <stdint.h> first. A fault is one function and one row, side by side in its family's
 * file; catalogue.c joins the families. */

/* How a fault is to be fired. */
enum mode {
    FORCED, /* the defect takes effect: probability 1 */
    SAFE,   /* the same work in the order that does no harm: probability 0 */
    WILD    /* real threads on a real schedule: whatever probability the window gives */
};

/* What became of a shot that the process survived. It is also the witness word of the box. */
enum outcome {
    UNTOUCHED = 0,    /* nothing was fired */
    ARMED = 1,        /* past the checks, at the point of no return */
    DONE = 2,         /* the work ended and the defect did not take effect, as it may */
    DID_NOT_FIRE = 3, /* the defect was to take effect and the process lived */
    REFUSED = 4,      /* a check said no: nothing was fired */
    SILENT = 5        /* the defect took effect, and nobody noticed */
};

/* Why fire() or arm() refused. */
enum refusal {
    NOT_ARMED = -1,       /* this process is not a victim */
    UNKNOWN_FAULT = -2,   /* no such row */
    OUT_OF_RANGE = -3,    /* a parameter outside its range */
    NO_MEMORY_LIMIT = -4, /* a memory-hungry fault without a limit in force */
    NOT_OFFERED = -5,     /* the row does not offer this mode */
    BAD_BOX = -6,         /* the descriptor is no box of ours */
    BAD_WORDS = -7        /* the words of a shot mean nothing */
};

enum { PARAMETERS = 4 };

/* One dial of a fault; an unused one has no name. */
struct parameter {
    const char *name;
    const char *unit;
    int64_t initial;
    int64_t low;
    int64_t high;
};

struct shot {
    enum mode mode;
    int64_t value[PARAMETERS]; /* in the row's order */
};

/* One row says it all. Words in a list are separated by a blank, alternatives by " | ". */
struct fault {
    const char *name;
    const char *family;
    const char *mechanism; /* one sentence */
    const char *kind;      /* deterministic, racy, hang, silent, exit or control */
    const char *tiers;     /* of: forced dosed wild */
    const char *needs;     /* of: memory_limit memory_cgroup empty_hugetlb namespace cxx x86_64 glibc */
    const char *expects;   /* termination, si_code and address class where it takes effect; "; aarch64: ..." or
                            * "; musl x86_64: ..." behind it stands in its place where all those words hold */
    struct parameter parameters[PARAMETERS];
    enum outcome (*fire)(const struct shot *shot);
};

/* Rows in [0, fault_count()); outside it fault_row() gives NULL. */
int fault_count(void);
const struct fault *fault_row(int index);

/* Needs, as words, that this build can't meet: it was made without a C++ compiler. */
const char *unmet_needs(void);

/* The catalogue as JSON on stdout: {"rows": [...], "unmet": "words"}. 0, or -1. */
int print_catalogue(void);

/* Makes this process a victim: maps the box behind `fd` and installs the crash handlers.
 * 0, or BAD_BOX. */
int arm(int fd);

/* The same, in front of a handler that is there already: that one is called next, with the very same signal. */
int arm_in_front(int fd);

/* Fires row `index`. Returns DONE or DID_NOT_FIRE if the process lives, or an enum refusal. */
int fire(int index, enum mode mode, const int64_t *values);

/* The same, read from words: FAULT MODE [NAME=VALUE...]. BAD_WORDS for an unknown mode, an unknown name, or what is not a number. */
int fire_words(int count, char *const *words);

/* Becomes a server of trials on socket `fd` (zygote.c). Returns 0 once the supervisor has hung up, or -1. */
int serve(int fd);
