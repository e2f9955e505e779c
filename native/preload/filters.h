#pragma once

/* Whether this program has set up a filter for its system calls itself: what that allows the next program, on which our
 * library depends, nobody knows. One that was there before allowed the library's own start. */
int has_own_filter(void);
