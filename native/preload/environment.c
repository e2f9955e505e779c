/* The variables go by hand: a program may bring a getenv() and an unsetenv() of its own, as bash does. And they go without
 * a gap, since /proc shows the texts as they lie behind each other. */
#include "preload/environment.h"

#include <string.h>

#include "preload/block.h"

static struct handover handover;

struct handover *handed_over(void) { return &handover; }

static char **find(char **environment, const char *prefix) {
    for (; environment && *environment; environment++)
        if (begins_with(*environment, prefix)) return environment;
    return NULL;
}

static void drop(char **variable) {
    for (; *variable; variable++) variable[0] = variable[1];
}

/* Ours is the first in the list; what follows is the program's own. */
static int take_library(char **variable) {
    char *list = variable ? *variable + strlen(list_prefix) : "";
    size_t length = strcspn(list, ":"), rest = strlen(list) - length;
    if (!length || length >= sizeof handover.library) return -1;
    memcpy(handover.library, list, length);
    if (rest)
        memmove(list, list + length + 1, rest);
    else
        drop(variable);
    return 0;
}

/* The kernel lays the texts down in the order of the variables. Where somebody has moved one, they stay as they are. */
static char *close_gaps(char **environment, char *start) {
    for (; *environment; environment++) {
        size_t bytes = strlen(*environment) + 1;
        if (*environment < start) return NULL;
        *environment = memmove(start, *environment, bytes);
        start += bytes;
    }
    return start;
}

int take_variables(char **arguments, char **environment) {
    char **box = find(environment, box_prefix);
    if (!box || read_box_variable(*box + strlen(box_prefix), &handover) != 0) return -1;
    char *start = *environment, *end = *box + strlen(*box) + 1; /* ours was added last */
    drop(box);
    if (take_library(find(environment, list_prefix)) != 0) return -1;
    char *new_end = close_gaps(environment, start);
    if (!new_end) return 0;
    memset(new_end, 0, (size_t)(end - new_end));
    if (!handover.is_filtered) show_environment(&(struct block){arguments, start, new_end});
    return 0;
}
