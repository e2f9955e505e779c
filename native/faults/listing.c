/* The catalogue as JSON, for a process that must not load the faults. */
#include <inttypes.h>
#include <stdio.h>

#include "faults/faults.h"

static void text(const char *name, const char *value) {
    printf("\"%s\":\"", name);
    for (; value && *value; value++) {
        if (*value == '"' || *value == '\\') putchar('\\');
        putchar(*value);
    }
    putchar('"');
}

static void dial(const struct parameter *dial) {
    putchar('{');
    text("name", dial->name), putchar(',');
    text("unit", dial->unit);
    printf(",\"initial\":%" PRId64 ",\"low\":%" PRId64 ",\"high\":%" PRId64 "}", dial->initial, dial->low, dial->high);
}

static void row(const struct fault *row) {
    putchar('{');
    text("name", row->name), putchar(',');
    text("family", row->family), putchar(',');
    text("mechanism", row->mechanism), putchar(',');
    text("kind", row->kind), putchar(',');
    text("tiers", row->tiers), putchar(',');
    text("needs", row->needs), putchar(',');
    text("expects", row->expects);
    printf(",\"parameters\":[");
    for (int i = 0; i < PARAMETERS && row->parameters[i].name; i++) {
        if (i) putchar(',');
        dial(&row->parameters[i]);
    }
    printf("]}");
}

int print_catalogue(void) {
    printf("{\"rows\":[");
    for (int i = 0; i < fault_count(); i++) {
        if (i) putchar(',');
        row(fault_row(i));
    }
    printf("],");
    text("unmet", unmet_needs());
    puts("}");
    return fflush(stdout) == 0 ? 0 : -1;
}
