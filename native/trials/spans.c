#include "trials/spans.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int is_private(const char *line, struct span *span) {
    uint64_t start, end;
    char rights[5];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, rights) != 3) return 0;
    *span = (struct span){(char *)(uintptr_t)start, (char *)(uintptr_t)end};
    return strcmp(rights, "rw-p") == 0;
}

int find_spans(struct span *spans, int room, int (*takes)(const struct span *)) {
    char line[PATH_MAX + 128];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && count < room && fgets(line, sizeof line, maps))
        count += is_private(line, &spans[count]) && takes(&spans[count]);
    if (maps) fclose(maps);
    return count;
}
