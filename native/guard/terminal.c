#include "guard/terminal.h"

#include <fcntl.h>
#include <unistd.h>

struct terminal open_terminal(enum terminal_use use, pid_t supervisor) {
    struct terminal terminal = {.fd = -1, .home = getpgid(supervisor)};
    if (use != TERMINAL_NONE) terminal.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    return terminal;
}

/* This process is in the terminal's background, and may set the foreground because it blocks SIGTTOU. */
int lend_terminal(struct terminal *terminal, pid_t group) {
    pid_t holder = terminal->fd < 0 ? -1 : tcgetpgrp(terminal->fd);
    if (holder < 0 || holder == group || (holder != terminal->home && holder != terminal->borrower)) return 0;
    if (!terminal->borrower) tcgetattr(terminal->fd, &terminal->modes);
    if (tcsetpgrp(terminal->fd, group) != 0) return 0;
    terminal->borrower = group;
    return 1;
}

void take_terminal_back(struct terminal *terminal, int borrower_crashed) {
    if (!terminal->borrower) return;
    terminal->borrower = 0;
    tcsetpgrp(terminal->fd, terminal->home);
    if (borrower_crashed) tcsetattr(terminal->fd, TCSADRAIN, &terminal->modes);
}
