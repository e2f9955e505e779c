/* The families joined, and the one door through which a fault is fired. */
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "box/victim.h"
#include "faults/family.h"

static const struct family *const families[] = {
    &deref_faults,  &pointer_faults, &heap_faults,     &stack_faults,   &code_faults,
    &arithmetic_faults, &file_faults, &signal_faults,  &memory_faults,  &refusal_faults, &race_faults,
    &lifetime_faults, &runtime_faults, &cxx_faults,    &control_faults,
};

enum { FAMILIES = sizeof families / sizeof families[0] };

int fault_count(void) {
    int count = 0;
    for (int i = 0; i < FAMILIES; i++) count += families[i]->count;
    return count;
}

const struct fault *fault_row(int index) {
    for (int i = 0; index >= 0 && i < FAMILIES; i++) {
        if (index < families[i]->count) return &families[i]->rows[index];
        index -= families[i]->count;
    }
    return NULL;
}

const char *unmet_needs(void) {
#ifdef WITH_CXX
    return "";
#else
    return "cxx";
#endif
}

static int begins(const char *words, const char *word) {
    while (*word && *words == *word) words++, word++;
    return *word == '\0' && (*words == '\0' || *words == ' ');
}

static int lists(const char *words, const char *word) {
    while (*words && !begins(words, word)) {
        while (*words && *words != ' ') words++;
        while (*words == ' ') words++;
    }
    return *words != '\0';
}

static int memory_is_limited(const struct box *box) {
    struct rlimit data, space;
    if (box->memory_limited) return 1;
    getrlimit(RLIMIT_DATA, &data);
    getrlimit(RLIMIT_AS, &space);
    return data.rlim_cur != RLIM_INFINITY || space.rlim_cur != RLIM_INFINITY;
}

static int offers(const struct fault *row, enum mode mode) {
    static const char *const tier[] = {[FORCED] = "forced", [SAFE] = "dosed", [WILD] = "wild"};
    return mode >= FORCED && mode <= WILD && lists(row->tiers, tier[mode]);
}

static int in_range(const struct fault *row, const int64_t *values) {
    for (int i = 0; i < PARAMETERS && row->parameters[i].name; i++)
        if (values[i] < row->parameters[i].low || values[i] > row->parameters[i].high) return 0;
    return 1;
}

static int check(const struct fault *row, enum mode mode, const int64_t *values, const struct box *box) {
    if (!row) return UNKNOWN_FAULT;
    if (!offers(row, mode)) return NOT_OFFERED;
    if (!in_range(row, values)) return OUT_OF_RANGE;
    int hungry = lists(row->needs, "memory_limit") || lists(row->needs, "memory_cgroup");
    return hungry && !memory_is_limited(box) ? NO_MEMORY_LIMIT : 0;
}

int fire(int index, enum mode mode, const int64_t *values) {
    struct box *box = armed_box();
    if (!box) return NOT_ARMED;
    const struct fault *row = fault_row(index);
    box->refusal = check(row, mode, values, box);
    if (box->refusal) {
        box->witness = REFUSED;
        return box->refusal;
    }
    struct shot shot = {.mode = mode};
    memcpy(shot.value, values, sizeof shot.value);
    box->witness = ARMED;
    box->witness = row->fire(&shot);
    return (int)box->witness;
}
