/* Asks for no memory, and leaves the stack alone: what a search left behind there, code that reads what nobody has set
 * would find in each child of a server. */
#include "trials/spans.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST = PATH_MAX + 128 };

static int is_private(const char *line, struct span *span) {
    char *end;
    uint64_t first = strtoull(line, &end, 16);
    if (*end != '-') return 0;
    uint64_t last = strtoull(end + 1, &end, 16);
    *span = (struct span){(char *)(uintptr_t)first, (char *)(uintptr_t)last};
    return strncmp(end, " rw-p ", 6) == 0;
}

int find_spans(struct span *spans, int room, int (*takes)(const struct span *)) {
    static char text[2 * LONGEST];
    size_t kept = 0;
    int count = 0, maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t length = 1; maps >= 0 && length > 0;) {
        length = read(maps, text + kept, sizeof text - 1 - kept);
        if (length > 0) kept += (size_t)length;
        text[kept] = '\0';
        char *line = text;
        for (char *end; count < room && (end = strchr(line, '\n')); line = end + 1)
            count += is_private(line, &spans[count]) && takes(&spans[count]);
        kept -= (size_t)(line - text);
        memmove(text, line, kept);
        if (count == room) break;
    }
    if (maps >= 0) close(maps);
    return count;
}
