/* Numbers in texts. */
#include <stddef.h>

#include "libc/names.h"

unsigned long parse_number(const char *text, char **end, int base);

static int digit_of(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    return letter >= 'A' && letter <= 'F' ? letter - 'A' + 10 : 16;
}

/* Reads a number of the given base; a prefix such as 0x is not understood. */
unsigned long parse_number(const char *text, char **end, int base) {
    const char *at = text;
    unsigned long number = 0;
    while (*at == ' ' || (*at >= '\t' && *at <= '\r')) at++;
    int is_negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    const char *first = at;
    for (; digit_of(*at) < base; at++) number = number * (unsigned)base + (unsigned)digit_of(*at);
    if (end) *end = (char *)(size_t)(at == first ? text : at);
    return is_negative ? -number : number;
}

/* All these names are one function: a long holds each of their numbers. */
CALLED(as_unsigned_long_long, parse_number, "strtoull");
CALLED(as_unsigned_long, parse_number, "strtoul");
CALLED(as_long_long, parse_number, "strtoll");
CALLED(as_long, parse_number, "strtol");
CALLED(as_newer_unsigned_long_long, parse_number, "__isoc23_strtoull");
CALLED(as_newer_unsigned_long, parse_number, "__isoc23_strtoul");
CALLED(as_newer_long_long, parse_number, "__isoc23_strtoll");
CALLED(as_newer_long, parse_number, "__isoc23_strtol");
