#include "guard/order.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct option options[] = {
    {"control", required_argument, NULL, 'f'},        {"supervisor", required_argument, NULL, 's'},
    {"deadline-ms", required_argument, NULL, 'd'},    {"grace-ms", required_argument, NULL, 'g'},
    {"cgroup-bytes", required_argument, NULL, 'B'},   {"cgroup-version", required_argument, NULL, 'V'},
    {"cgroup-parent", required_argument, NULL, 'P'},  {"cgroup-name", required_argument, NULL, 'N'},
    {"pids-parent", required_argument, NULL, 'Q'},    {"pids-version", required_argument, NULL, 'R'},
    {"processes", required_argument, NULL, 'p'},      {"core-bytes", required_argument, NULL, 'c'},
    {"box", required_argument, NULL, 'b'},            {"channel", required_argument, NULL, 'h'},
    {"box-file", required_argument, NULL, 'F'},       {"witness", required_argument, NULL, 'w'},
    {"witness-fd", required_argument, NULL, 'W'},     {"rlimit", required_argument, NULL, 'r'},
    {"preload", required_argument, NULL, 'L'},        {"directory", required_argument, NULL, 'C'},
    {"terminal", required_argument, NULL, 't'},       {"namespace", no_argument, NULL, 'n'},
    {"clean", no_argument, NULL, 'e'},                {"closed", required_argument, NULL, 'x'},
    {"ignored", required_argument, NULL, 'i'},        {NULL, 0, NULL, 0},
};

static int number(const char *text) { return (int)strtol(text, NULL, 10); }

/* RESOURCE=VALUE, where the resource is its number in <sys/resource.h>. */
static int take_rlimit(const char *text, struct order *order) {
    char *end;
    unsigned long resource = strtoul(text, &end, 10);
    if (*end != '=' || resource >= RLIM_NLIMITS) return -1;
    order->rlimits[resource] = strtoull(end + 1, NULL, 10);
    return 0;
}

static int take_option(int letter, struct order *order) {
    switch (letter) {
    case 'f': order->control_fd = number(optarg); break;
    case 's': order->supervisor = number(optarg); break;
    case 'd': order->deadline_ms = strtoll(optarg, NULL, 10); break;
    case 'g': order->grace_ms = strtoll(optarg, NULL, 10); break;
    case 'r': return take_rlimit(optarg, order);
    case 'B': order->cgroup_bytes = strtoull(optarg, NULL, 10); break;
    case 'V': order->cgroup_version = number(optarg); break;
    case 'P': order->cgroup_parent = optarg; break;
    case 'N': order->cgroup_name = optarg; break;
    case 'Q': order->pids_parent = optarg; break;
    case 'R': order->pids_version = number(optarg); break;
    case 'p': order->processes = strtoull(optarg, NULL, 10); break;
    case 'c': order->core_bytes = strtoull(optarg, NULL, 10); break;
    case 'b': order->box_fd = number(optarg); break;
    case 'h': order->channel_fd = number(optarg); break;
    case 'L': order->preload = optarg; break;
    case 'F': order->box_file = optarg; break;
    case 'w': order->witness = strcmp(optarg, "trace") == 0 ? TRACE : PERF; break;
    case 'W': order->witness_fd = number(optarg); break;
    case 'C': order->directory = optarg; break;
    case 't': order->terminal = strcmp(optarg, "at-once") == 0 ? TERMINAL_AT_ONCE : TERMINAL_AT_NEED; break;
    case 'n': order->own_namespace = 1; break;
    case 'e': order->clean = 1; break;
    case 'x': order->closed |= 1u << (number(optarg) & 31); break;
    case 'i': order->ignored |= 1ull << ((number(optarg) - 1) & 63); break;
    default: return -1;
    }
    return 0;
}

int take_order(int count, char **words, struct order *order) {
    *order = (struct order){.deadline_ms = -1, .control_fd = -1, .box_fd = -1, .channel_fd = -1, .witness_fd = -1};
    for (int letter; (letter = getopt_long(count, words, "+", options, NULL)) != -1;)
        if (take_option(letter, order) != 0) return -1;
    order->command = words + optind;
    return optind < count && order->control_fd >= 0 ? 0 : -1;
}
