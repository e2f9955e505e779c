/* A program of known truth: asks for one block, and does with a refusal what its first argument says. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int meet_refusal(const char *what) {
    if (strcmp(what, "silent") == 0) return 3;
    if (strcmp(what, "abort") == 0) abort();
    if (strcmp(what, "hang") == 0) for (;;) continue;
    if (strcmp(what, "wrong") == 0) return 0;
    if (strcmp(what, "127") == 0) {
        fputs("refuser: cannot allocate memory for thread-local data: ABORT\n", stderr);
        return 127;
    }
    fputs("out of memory\n", stderr);
    return 3;
}

/* By its bare name: the loader looks for it where this program says, not where another would. */
static int open_library(const char *name) {
    for (int at = 0; at < 50; at++) free(malloc(10));
    void *library = dlopen(name, RTLD_NOW);
    int (*jumping)(void) = library ? (int (*)(void))dlsym(library, "jumping") : NULL;
    return jumping ? !jumping() : meet_refusal("careful");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "careful";
    if (strcmp(what, "mark") == 0) {
        for (int at = 0; at < 50; at++) free(malloc(10));
        access("/crash-harness/begin", F_OK);
        what = "crash";
    }
    if (strcmp(what, "forks") == 0) return system("true");
    if (strcmp(what, "opens") == 0) return open_library(argv[2]);
    char *volatile block = malloc(100);
    if (!block && strcmp(what, "crash") != 0) return meet_refusal(what);
    block[0] = 'x';
    free(block);
    access("/crash-harness/end", F_OK);
    return write(STDOUT_FILENO, "fine\n", 5) != 5;
}
