/* Files of text, read by the line. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUFFER_BYTES = 4000 };

struct reader {
    int fd;
    ssize_t at, filled;
    char buffer[BUFFER_BYTES];
};

/* For reading only, and closed at an exec, whatever `mode` says. */
FILE *fdopen(int fd, const char *mode) {
    struct reader *reader = calloc(1, sizeof *reader);
    (void)mode;
    if (reader) reader->fd = fd;
    return (FILE *)reader;
}

FILE *fopen(const char *restrict path, const char *restrict mode) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);
    if (fd >= 0 && !file) close(fd);
    return file;
}

int fclose(FILE *file) {
    int result = close(((struct reader *)file)->fd);
    free(file);
    return result;
}

/* The next byte, or EOF. */
static int next_byte(struct reader *reader) {
    if (reader->at == reader->filled) {
        reader->at = 0;
        reader->filled = read(reader->fd, reader->buffer, sizeof reader->buffer);
        if (reader->filled <= 0) return reader->filled = 0, EOF;
    }
    return (unsigned char)reader->buffer[reader->at++];
}

char *fgets(char *restrict line, int size, FILE *restrict file) {
    int length = 0, byte = 0;
    while (length < size - 1 && byte != '\n' && (byte = next_byte((struct reader *)file)) != EOF) line[length++] = (char)byte;
    line[length] = '\0';
    return length > 0 ? line : NULL;
}
