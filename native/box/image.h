#pragma once
/* A look at a program before it is executed: can it carry the library? */
#include "box/handover.h"
#include "box/page.h"

struct image {
    const char *path; /* NULL: only `fd` */
    int fd;
};

/* Whether the program can carry the library, as far as its file and the environment tell; if not, the reason is in the
 * page. For a script, its interpreter is looked at, and named in `handover`. Allocates nothing. */
int can_carry(struct handover *handover, const struct image *image, char *const *environment, struct box *box);

/* Whether the program has a sanitizer in it. */
int is_sanitized(const struct image *image);
