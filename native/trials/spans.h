#pragma once
/* The memory that this process alone writes. */

struct span {
    char *start, *end;
};

/* Finds private writable mappings of this process, those that `takes` takes. Returns how many; no more than `room`. */
int find_spans(struct span *spans, int room, int (*takes)(const struct span *));
