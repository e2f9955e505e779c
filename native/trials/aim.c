#include "trials/aim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {[FORCED] = "forced", [SAFE] = "safe", [WILD] = "wild"};

static int index_of(const char *name) {
    for (int i = 0; i < fault_count(); i++)
        if (strcmp(fault_row(i)->name, name) == 0) return i;
    return -1;
}

static int read_mode(const char *word, enum mode *mode) {
    for (int i = FORCED; i <= WILD; i++) {
        if (strcmp(modes[i], word) != 0) continue;
        *mode = (enum mode)i;
        return 0;
    }
    return -1;
}

static int dial_of(const struct fault *row, const char *name, size_t length) {
    for (int i = 0; i < PARAMETERS && row->parameters[i].name; i++)
        if (strlen(row->parameters[i].name) == length && strncmp(row->parameters[i].name, name, length) == 0) return i;
    return -1;
}

/* A row that does not exist can't be checked here: fire() answers that there is no such row. */
static int read_value(const char *word, const struct fault *row, int64_t values[PARAMETERS]) {
    char *end;
    const char *sign = strchr(word, '=');
    if (!sign || !sign[1]) return -1;
    errno = 0;
    int64_t value = strtoll(sign + 1, &end, 10);
    if (*end || errno) return -1;
    int dial = row ? dial_of(row, word, (size_t)(sign - word)) : 0;
    if (dial < 0) return -1;
    values[dial] = value;
    return 0;
}

int read_aim(int count, char *const *words, struct aim *aim) {
    *aim = (struct aim){.fault = -1};
    if (count < 2 || read_mode(words[1], &aim->mode) != 0) return -1;
    aim->fault = index_of(words[0]);
    const struct fault *row = fault_row(aim->fault);
    for (int i = 0; row && i < PARAMETERS; i++) aim->values[i] = row->parameters[i].initial;
    for (int i = 2; i < count; i++)
        if (read_value(words[i], row, aim->values) != 0) return -1;
    return 0;
}

int fire_at(const struct aim *aim) { return fire(aim->fault, aim->mode, aim->values); }

int fire_words(int count, char *const *words) {
    struct aim aim;
    return read_aim(count, words, &aim) == 0 ? fire_at(&aim) : BAD_WORDS;
}
