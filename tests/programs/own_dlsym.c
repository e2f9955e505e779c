/* A library that is preloaded, with a dlsym() of its own that says what is looked up. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

void *dlsym(void *restrict handle, const char *restrict name) {
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
    void *(*next)(void *, const char *) = NULL;
    for (size_t i = 0; !next && i < sizeof versions / sizeof *versions; i++) next = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    if (strcmp(name, "puts") == 0 || strcmp(name, "cos") == 0) printf("looks for %s\n", name);
    return next ? next(handle, name) : NULL;
}
