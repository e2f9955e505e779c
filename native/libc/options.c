/* getopt_long() for whole long names only; it ends at the first word that is no option. */
#include <getopt.h>
#include <stddef.h>
#include <string.h>

char *optarg;
int optind = 1;

int getopt_long(int count, char *const words[], const char *letters, const struct option *options, int *index) {
    (void)letters, (void)index;
    if (optind >= count || strncmp(words[optind], "--", 2) != 0) return -1;
    const char *name = words[optind++] + 2;
    if (!*name) return -1;
    while (options->name && strcmp(options->name, name) != 0) options++;
    if (!options->name || (options->has_arg == required_argument && optind == count)) return '?';
    optarg = options->has_arg == required_argument ? words[optind++] : NULL;
    return options->val;
}
