#pragma once
/* The terminal that the supervisor works at. The victim has a process group of its own; while that is the terminal's
 * foreground, the victim reads from it, and Ctrl-C and Ctrl-Z go to the victim, as they would without us. */
#include <sys/types.h>
#include <termios.h>

#include "guard/order.h"

struct terminal {
    int fd;     /* -1: there is none, or it is not to be used */
    pid_t home; /* the supervisor's process group */
    pid_t borrower;       /* the group that has it; 0: it is not lent */
    struct termios modes; /* as they were when it was lent */
};

struct terminal open_terminal(enum terminal_use use, pid_t supervisor);

/* Lends the terminal to a process group, if the supervisor's group or the last borrower has it. Returns whether that
 * changed anything. */
int lend_terminal(struct terminal *terminal, pid_t group);

/* Gives the terminal back to the supervisor's group, if it was lent. Its modes are set back if the borrower crashed and
 * could not do so itself. */
void take_terminal_back(struct terminal *terminal, int borrower_crashed);
