#pragma once

/* The texts of the environment, which lie behind those of the arguments. */
struct block {
    char **arguments;
    char *start, *end;
};

/* Has /proc/self/environ show this block and nothing behind it, where the kernel allows that. To be called before anything
 * else has happened in the program. */
void show_environment(const struct block *block);
