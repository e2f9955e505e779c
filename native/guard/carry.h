#pragma once

/* The library for a command, the name of its box, and a descriptor of that. */
struct carrier {
    const char *library, *place;
    int box_fd;
};

/* Executes the command, found as execvp() finds it, with the library where it can be carried; where not, the box says why.
 * Returns only where that fails, with errno. */
void carry_and_execute(const struct carrier *carrier, char *const *command);
