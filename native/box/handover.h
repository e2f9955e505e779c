#pragma once
/* What is handed over to the program that is to carry the library, from the guard or from the program before: two
 * variables of its environment, which the library takes out again before anybody sees them. */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "box/page.h"

enum { LIST_BYTES = 2 * PATH_MAX, PLACE_BYTES = 128, VARIABLE_BYTES = 256, ADDED = 3 };

struct handover {
    int process;                /* who is to take it */
    int is_filtered;            /* system calls may be refused */
    char program[MODULE_BYTES]; /* what is executed, a script's interpreter for one */
    char place[PLACE_BYTES];    /* of the page: a file */
    char library[PATH_MAX];     /* last, and so close to the rest where it is short */
};

/* The texts of the two variables. */
struct variables {
    char list[LIST_BYTES];
    char box[VARIABLE_BYTES];
};

extern const char list_prefix[], box_prefix[]; /* "LD_PRELOAD=", "CRASH_BOX=" */

/* Whether `text` is the variable with that prefix. */
int begins_with(const char *text, const char *prefix);

/* Reads the value of CRASH_BOX; the library's path stands in LD_PRELOAD. Returns 0, or -1 for a value that is not ours. */
int read_box_variable(const char *value, struct handover *handover);

/* Writes `environment` with our variables into `whole`, which has room for ADDED more and the NULL. The texts live in
 * `variables`. Returns 0, or -1 where they have no room. */
int add_variables(char **whole, struct variables *variables, const struct handover *handover, char *const *environment);

/* Why a program goes without the library whose words and variables the kernel takes only without ours. */
extern const char no_room[];

size_t count_strings(char *const *strings);

/* Notes in the page why the next program will not carry the library: "NAME WHY", or WHY alone. NULL for both takes the
 * reason out. */
void note_reason(struct box *box, const char *name, const char *why);
