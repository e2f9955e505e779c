#pragma once
/* A program of several parts, of which the first argument names the one to run; a number may follow. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DID_NOT_HAPPEN = 99 };

struct part {
    const char *name;
    void (*run)(long);
};

static int run_part(const struct part *parts, size_t count, int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < count; i++) {
        if (strcmp(parts[i].name, argv[1]) != 0) continue;
        parts[i].run(argc > 2 ? strtol(argv[2], NULL, 0) : 0);
        return 0;
    }
    return DID_NOT_HAPPEN;
}

static void say(const char *text) {
    if (write(STDOUT_FILENO, text, strlen(text)) < 0) _exit(DID_NOT_HAPPEN);
}

static void null(void) {
    volatile char *volatile nowhere = NULL;
    *nowhere = 1;
}
