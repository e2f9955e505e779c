/* Controls and ends that are no crash: what a harness must not mistake for one. */
#include "faults/family.h"

#include <signal.h>
#include <unistd.h>

static enum outcome never(const struct shot *shot) {
    (void)shot;
    return DONE;
}

static enum outcome did_not_fire(const struct shot *shot) {
    (void)shot;
    return DID_NOT_FIRE;
}

static enum outcome hang(const struct shot *shot) {
    (void)shot;
    signal(SIGTERM, SIG_IGN);
    for (;;) pause();
    return DID_NOT_FIRE;
}

static enum outcome exit_status(const struct shot *shot) {
    _exit((int)shot->value[0]);
    return DID_NOT_FIRE;
}

FAMILY(control_faults,
    {.name = "never", .family = "control", .kind = "control", .tiers = "forced dosed", .needs = "",
     .mechanism = "Does nothing: the work ends as it should.", .expects = "done", .fire = never},
    {.name = "did_not_fire", .family = "control", .kind = "control", .tiers = "forced", .needs = "",
     .mechanism = "Claims a defect and lives: the harness must say that nothing was proved.",
     .expects = "did not fire", .fire = did_not_fire},
    {.name = "hang", .family = "control", .kind = "hang", .tiers = "forced", .needs = "",
     .mechanism = "Ignores SIGTERM and waits for ever.", .expects = "SIGKILL by the deadline", .fire = hang},
    {.name = "exit_status", .family = "control", .kind = "exit", .tiers = "forced", .needs = "",
     .mechanism = "Leaves with exit status `status` before the work is done.", .expects = "exited 1",
     .parameters = {{"status", "status", 1, 0, 255}}, .fire = exit_status});
