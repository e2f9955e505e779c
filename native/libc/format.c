/* snprintf() of texts and whole numbers, without a width. */
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 24 };

struct sink {
    char *text;
    size_t size, length;
};

static void put(struct sink *sink, char letter) {
    if (sink->length + 1 < sink->size) sink->text[sink->length] = letter;
    sink->length++;
}

static void put_text(struct sink *sink, const char *text, size_t most) {
    for (size_t i = 0; i < most && text[i]; i++) put(sink, text[i]);
}

static void put_number(struct sink *sink, unsigned long long number, unsigned base) {
    char digits[DIGITS];
    int count = 0;
    do digits[count++] = "0123456789abcdef"[number % base];
    while ((number /= base) > 0);
    while (count > 0) put(sink, digits[--count]);
}

static void put_signed(struct sink *sink, long long number) {
    if (number < 0) put(sink, '-');
    put_number(sink, number < 0 ? -(unsigned long long)number : (unsigned long long)number, 10);
}

/* A field of the format behind its per cent: ".20s", ".*s", "d", "llu". */
struct field {
    size_t precision;
    int is_long;
    char kind;
};

static const char *read_precision(const char *at, struct field *field, va_list *list) {
    field->precision = SIZE_MAX;
    if (*at != '.') return at;
    field->precision = 0;
    if (*++at == '*') {
        int asked = va_arg(*list, int);
        field->precision = asked < 0 ? SIZE_MAX : (size_t)asked;
        return at + 1;
    }
    for (; *at >= '0' && *at <= '9'; at++) field->precision = field->precision * 10 + (size_t)(*at - '0');
    return at;
}

static const char *read_field(const char *at, struct field *field, va_list *list) {
    at = read_precision(at, field, list);
    for (field->is_long = 0; *at == 'l' || *at == 'z'; at++) field->is_long = 1;
    field->kind = *at;
    return at + 1;
}

static unsigned long long next_number(const struct field *field, va_list *list) {
    return field->is_long ? va_arg(*list, unsigned long) : va_arg(*list, unsigned);
}

static void put_field(struct sink *sink, const struct field *field, va_list *list) {
    switch (field->kind) {
    case 's': put_text(sink, va_arg(*list, const char *), field->precision); break;
    case 'c': put(sink, (char)va_arg(*list, int)); break;
    case 'd': put_signed(sink, field->is_long ? va_arg(*list, long) : va_arg(*list, int)); break;
    case 'u': put_number(sink, next_number(field, list), 10); break;
    case 'x': put_number(sink, next_number(field, list), 16); break;
    default: put(sink, field->kind); break;
    }
}

int snprintf(char *restrict text, size_t size, const char *restrict format, ...) {
    struct sink sink = {text, size, 0};
    struct field field;
    va_list list;
    va_start(list, format);
    while (*format) {
        if (*format != '%') {
            put(&sink, *format++);
            continue;
        }
        format = read_field(format + 1, &field, &list);
        put_field(&sink, &field, &list);
    }
    va_end(list);
    if (size > 0) text[sink.length < size ? sink.length : size - 1] = '\0';
    return (int)sink.length;
}
