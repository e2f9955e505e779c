#include "guard/carry.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "box/handover.h"
#include "box/image.h"
#include "box/victim.h"

extern char **environ;

static const char *search_path(void) {
    for (char **at = environ; *at; at++)
        if (begins_with(*at, "PATH=")) return *at + strlen("PATH=");
    return "/bin:/usr/bin";
}

/* The file that a name means: 0, or -1. */
static int find_program(const char *name, char path[PATH_MAX]) {
    if (strchr(name, '/')) return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : -1;
    for (const char *at = search_path(), *end; at; at = *end ? end + 1 : NULL) {
        end = strchrnul(at, ':');
        int length = (int)(end - at);
        if (snprintf(path, PATH_MAX, "%.*s%s%s", length, at, length ? "/" : "", name) >= PATH_MAX) continue;
        if (access(path, X_OK) == 0) return 0;
    }
    return -1;
}

void carry_and_execute(const struct carrier *carrier, char *const *command) {
    struct handover handover = {.process = getpid(), .is_filtered = prctl(PR_GET_SECCOMP) > 0};
    struct variables variables;
    char path[PATH_MAX], *whole[count_strings(environ) + ADDED];
    struct box *box = map_box(carrier->box_fd);
    snprintf(handover.library, sizeof handover.library, "%s", carrier->library);
    snprintf(handover.place, sizeof handover.place, "%s", carrier->place);
    int carries = box && find_program(command[0], path) == 0 && can_carry(&handover, &(struct image){path, -1}, environ, box) &&
                  add_variables(whole, &variables, &handover, environ) == 0;
    if (carries) box->armed = EXPECTED;
    execvpe(command[0], command, carries ? whole : environ);
}
