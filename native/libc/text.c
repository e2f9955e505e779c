/* Bytes and texts, a byte at a time: they are short. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    for (size_t i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    if (to < from) return memcpy(to, from, size);
    while (size-- > 0) ((char *)to)[size] = ((const char *)from)[size];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (size_t i = 0; i < size; i++) ((char *)to)[i] = (char)byte;
    return to;
}

int memcmp(const void *first, const void *second, size_t size) {
    const unsigned char *a = first, *b = second;
    while (size > 0 && *a == *b) a++, b++, size--;
    return size > 0 ? *a - *b : 0;
}

void *memchr(const void *bytes, int byte, size_t size) {
    for (const unsigned char *at = bytes; size > 0; at++, size--)
        if (*at == (unsigned char)byte) return (void *)(size_t)at;
    return NULL;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

int strncmp(const char *first, const char *second, size_t size) {
    while (size > 0 && *first && *first == *second) first++, second++, size--;
    return size > 0 ? (unsigned char)*first - (unsigned char)*second : 0;
}

int strcmp(const char *first, const char *second) { return strncmp(first, second, (size_t)-1); }
char *strcpy(char *restrict to, const char *restrict from) { return memcpy(to, from, strlen(from) + 1); }

/* Where the byte is, or the end. */
char *strchrnul(const char *text, int byte) {
    while (*text && *text != (char)byte) text++;
    return (char *)(size_t)text;
}

char *strchr(const char *text, int byte) {
    char *found = strchrnul(text, byte);
    return *found == (char)byte ? found : NULL;
}

char *strrchr(const char *text, int byte) {
    const char *found = NULL;
    for (const char *at = text; (at = strchr(at, byte)) != NULL && *at; at++) found = at;
    return (char *)(size_t)(byte ? found : text + strlen(text));
}

size_t strcspn(const char *text, const char *marks) {
    size_t length = 0;
    while (text[length] && !strchr(marks, text[length])) length++;
    return length;
}

char *strpbrk(const char *text, const char *marks) {
    text += strcspn(text, marks);
    return *text ? (char *)(size_t)text : NULL;
}

char *strstr(const char *text, const char *wanted) {
    size_t length = strlen(wanted);
    for (; strncmp(text, wanted, length) != 0; text++)
        if (!*text) return NULL;
    return (char *)(size_t)text;
}

/* What a witness can be refused with; others are told by their number. */
char *strerror(int error) {
    static const struct {
        int error;
        const char *text;
    } known[] = {
        {EPERM, "Operation not permitted"}, {ENOENT, "No such file or directory"}, {ESRCH, "No such process"},
        {EIO, "Input/output error"},        {ENOMEM, "Cannot allocate memory"},    {EACCES, "Permission denied"},
        {EBUSY, "Device or resource busy"}, {ENODEV, "No such device"},            {EINVAL, "Invalid argument"},
        {ENFILE, "Too many open files in system"}, {EMFILE, "Too many open files"}, {EPIPE, "Broken pipe"},
        {ENOSYS, "Function not implemented"},      {EOPNOTSUPP, "Operation not supported"},
    };
    static char unknown[32];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].error == error) return (char *)(size_t)known[i].text;
    snprintf(unknown, sizeof unknown, "error %d", error);
    return unknown;
}
