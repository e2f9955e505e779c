#include "box/handover.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 28 };

const char list_prefix[] = "LD_PRELOAD=", box_prefix[] = "CRASH_BOX=", no_room[] = "its words leave no room for ours";

int begins_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

size_t count_strings(char *const *strings) {
    size_t count = 0;
    while (strings && strings[count]) count++;
    return count;
}

/* Reads a number without the C library, which is not ready yet. */
static int read_number(const char **text) {
    int number = 0;
    for (; **text >= '0' && **text <= '9'; ++*text) number = number * 10 + (**text - '0');
    return number;
}

/* Reads a text up to the next mark; the last text goes to the end. Returns -1 if there is no room for it. */
static int read_text(const char **value, char *text, size_t room) {
    size_t length = strcspn(*value, ";");
    if (length >= room) return -1;
    memcpy(text, *value, length);
    text[length] = '\0';
    *value += length + ((*value)[length] == ';');
    return 0;
}

int read_box_variable(const char *value, struct handover *handover) {
    handover->is_filtered = read_number(&value);
    if (*value++ != ';') return -1;
    handover->process = read_number(&value);
    if (*value++ != ';' || read_text(&value, handover->program, sizeof handover->program) != 0) return -1;
    return read_text(&value, handover->place, sizeof handover->place);
}

/* Our library comes first in LD_PRELOAD, and LD_PRELOAD stays where it was in the environment. */
int add_variables(char **whole, struct variables *variables, const struct handover *handover, char *const *environment) {
    const char *others = "";
    char **list = NULL;
    for (; environment && *environment; environment++) {
        if (begins_with(*environment, list_prefix)) others = *(list = whole) = *environment;
        *whole++ = *environment;
    }
    if (list) others += strlen(list_prefix);
    const char *library = handover->library, *comma = *others ? ":" : "";
    int length = snprintf(variables->list, LIST_BYTES, "%s%s%s%s", list_prefix, library, comma, others);
    if (length < 0 || length >= LIST_BYTES) return -1;
    length = snprintf(variables->box, VARIABLE_BYTES, "%s%d;%d;%s;%s", box_prefix, handover->is_filtered, handover->process,
                      handover->program, handover->place);
    if (length < 0 || length >= VARIABLE_BYTES) return -1;
    *(list ? list : whole++) = variables->list;
    *whole++ = variables->box;
    *whole = NULL;
    return 0;
}

void note_reason(struct box *box, const char *name, const char *why) {
    const char *last = name ? strrchr(name, '/') : NULL;
    const char *shown = last ? last + 1 : name ? name : "";
    snprintf(box->reason, REASON_BYTES, "%.*s%s%s", NAME_BYTES, shown, *shown && why ? " " : "", why ? why : "");
}
