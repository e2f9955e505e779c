#pragma once
/* How the guard tells the preloaded library of its box. */

struct announcement {
    const char *library; /* NULL: there is no box to carry */
    int box_fd;
};

/* Puts the library before the program's own LD_PRELOAD, in the environment of the calling process, which is about to
 * execute the victim. A box that could not be announced is one that was not loaded: nobody is misled. */
void announce_box(const struct announcement *announcement);
