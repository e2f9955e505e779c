#pragma once

/* As serve() in faults.h, but each victim is a new process image: `command`, which ends with NULL, followed by the
 * words of the shot. */
int serve_fresh(int fd, char *const *command);
