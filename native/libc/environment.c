/* Variables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t count_variables(void) {
    size_t count = 0;
    while (environ[count]) count++;
    return count;
}

/* Its place in the environment, or that of the NULL behind all. */
static char **place_of(const char *name) {
    size_t length = strlen(name);
    char **at = environ;
    while (*at && (strncmp(*at, name, length) != 0 || (*at)[length] != '=')) at++;
    return at;
}

char *getenv(const char *name) {
    char *found = *place_of(name);
    return found ? found + strlen(name) + 1 : NULL;
}

/* What was there before is not given back: the next thing is an exec. */
int setenv(const char *name, const char *value, int overwrites) {
    size_t size = strlen(name) + strlen(value) + 2, count = count_variables();
    char **place = place_of(name), *variable = calloc(size, 1);
    if (!variable) return -1;
    if (*place && !overwrites) return 0;
    snprintf(variable, size, "%s=%s", name, value);
    if (!*place) {
        char **whole = calloc(count + 2, sizeof *whole);
        if (!whole) return -1;
        memcpy(whole, environ, count * sizeof *whole);
        environ = whole;
        place = whole + count;
    }
    *place = variable;
    return 0;
}
