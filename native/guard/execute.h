#pragma once
#include <stddef.h>

/* As execvp() with this environment: `path` gets what is found for the command's first word, which may be searched in
 * PATH. A text that no kernel executes goes to the shell, as a shell would have it; anything else that is no program
 * does not. Returns only where that fails, with errno. */
void execute(char *const *command, char *const *environment);

/* Writes the file that `name` means into `path`, with PATH of `environment`. 0, or -1 with errno. */
int find_program(const char *name, char *const *environment, char *path, size_t size);
