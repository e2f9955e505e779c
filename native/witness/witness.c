#include "witness/witness.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "witness/perf.h"
#include "witness/trace.h"

void witness_begin(struct witness *witness) {
    if (!witness->page) return;
    if (witness->kind == PERF) witness->perf = perf_open(witness->victim, witness->page);
    if (witness->kind == TRACE) witness->tracer = trace_begin(witness->victim, witness->proc, witness->page);
}

void witness_end(struct witness *witness, int wait_status) {
    int deadly = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    if (witness->perf) perf_read(witness->perf, witness->victim, deadly, witness->page);
    if (witness->tracer > 0) trace_end(witness->tracer);
}

void witness_fails(struct box *page, const char *what, int error) {
    page->armed = 0;
    snprintf(page->reason, REASON_BYTES, "%s: %s", what, strerror(error));
}
