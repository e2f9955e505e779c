#include "guard/carry.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "box/announce.h"
#include "box/handover.h"
#include "box/image.h"
#include "box/victim.h"
#include "guard/execute.h"

extern char **environ;

static int can_be_carried(const struct order *order, struct handover *handover, struct box *box) {
    char path[PATH_MAX];
    if (find_program(order->command[0], environ, path, sizeof path) != 0) return 0;
    return can_carry(handover, &(struct image){path, -1}, environ, box);
}

/* Everything is on the stack, since the memory is our parent's. */
static void execute_with_library(const struct order *order) {
    struct handover handover = {.process = getpid(), .is_filtered = prctl(PR_GET_SECCOMP) > 0};
    struct variables variables;
    char *whole[count_strings(environ) + ADDED];
    struct box *box = map_box(order->box_fd);
    snprintf(handover.library, sizeof handover.library, "%s", order->preload);
    snprintf(handover.place, sizeof handover.place, "%s", order->box_file);
    int carries = box && can_be_carried(order, &handover, box) && add_variables(whole, &variables, &handover, environ) == 0;
    if (carries) box->armed = EXPECTED;
    execute(order->command, carries ? whole : environ);
    if (!carries || errno != E2BIG) return;
    box->armed = UNARMED;
    note_reason(box, NULL, no_room);
    execute(order->command, environ);
}

/* The box's library is handed over by name; any other library of ours is announced by a descriptor. */
void carry_and_execute(const struct order *order) {
    if (order->preload && order->box_file) {
        execute_with_library(order);
        return;
    }
    announce_box(&(struct announcement){order->preload, order->box_fd});
    execute(order->command, environ);
}
