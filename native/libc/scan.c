/* sscanf() of texts and whole numbers, and fscanf() of what stands in one line. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libc/names.h"

enum { LINE_BYTES = 256 };

int scan_text(const char *text, const char *format, ...);
int scan_line(FILE *file, const char *format, ...);

/* A field of the format behind its per cent: "*s", "4095s", "lx", "4095[^\n]". */
struct field {
    int is_dropped, is_long;
    size_t width;
    char kind;
    char stop; /* of a text: the byte that ends it; 0: any white space */
};

static int is_blank(char letter) { return letter == ' ' || (letter >= '\t' && letter <= '\r'); }

static const char *read_field(const char *at, struct field *field) {
    *field = (struct field){.is_dropped = *at == '*'};
    if (*at == '*') at++;
    for (; *at >= '0' && *at <= '9'; at++) field->width = field->width * 10 + (size_t)(*at - '0');
    if (!field->width) field->width = SIZE_MAX;
    for (; *at == 'l'; at++) field->is_long = 1;
    field->kind = *at++;
    if (field->kind != '[') return at;
    field->stop = at[1]; /* "^X]" */
    return at + 3;
}

static const char *take_text(const char *at, const struct field *field, char *text) {
    size_t length = 0;
    while (length < field->width && at[length] && (field->stop ? at[length] != field->stop : !is_blank(at[length]))) length++;
    if (length == 0) return NULL;
    if (!text) return at + length;
    memcpy(text, at, length);
    text[length] = '\0';
    return at + length;
}

static const char *take_number(const char *at, const struct field *field, void *number) {
    char *end;
    unsigned long value = strtoul(at, &end, field->kind == 'x' ? 16 : 10);
    if (end == at) return NULL;
    if (number && field->is_long)
        *(unsigned long *)number = value;
    else if (number)
        *(unsigned *)number = (unsigned)value;
    return end;
}

static const char *take_letter(const char *at, char *letter) {
    if (letter) *letter = *at;
    return *at ? at + 1 : NULL;
}

static const char *skip_blanks(const char *at) {
    while (is_blank(*at)) at++;
    return at;
}

static const char *take(const char *at, const struct field *field, void *place) {
    if (field->kind == 'c') return take_letter(at, place);
    if (field->kind == '[') return take_text(at, field, place);
    at = skip_blanks(at);
    return field->kind == 's' ? take_text(at, field, place) : take_number(at, field, place);
}

static int scan(const char *text, const char *format, va_list list) {
    struct field field;
    int taken = 0;
    while (*format) {
        if (is_blank(*format)) {
            text = skip_blanks(text);
            format++;
        } else if (*format != '%') {
            if (*format++ != *text++) break;
        } else {
            format = read_field(format + 1, &field);
            text = take(text, &field, field.is_dropped ? NULL : va_arg(list, void *));
            if (!text) break;
            taken += !field.is_dropped;
        }
    }
    return taken;
}

int scan_text(const char *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int taken = scan(text, format, list);
    va_end(list);
    return taken;
}

int scan_line(FILE *file, const char *format, ...) {
    char line[LINE_BYTES];
    if (!fgets(line, sizeof line, file)) return EOF;
    va_list list;
    va_start(list, format);
    int taken = scan(line, format, list);
    va_end(list);
    return taken;
}

CALLED(as_text, scan_text, "sscanf");
CALLED(as_text_99, scan_text, "__isoc99_sscanf");
CALLED(as_text_23, scan_text, "__isoc23_sscanf");
CALLED(as_line, scan_line, "fscanf");
CALLED(as_line_99, scan_line, "__isoc99_fscanf");
CALLED(as_line_23, scan_line, "__isoc23_fscanf");
