/* texts.c - `--query TEXT...`: texts that directly follow the first one.
 *
 *   clip-rank --query 'a red bus' 'a dog' photos/        two texts, one folder
 *
 * getopt gives the first text to the option and leaves the others among the operands. One of those is a text if it
 * directly follows a text and cannot be meant as a file: nothing has that name, and it has neither a slash nor a
 * suffix. One without a blank is reported on standard error, since a mistyped name of a folder looks the same. */
#include "rank.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ".jpg", ".npy" ...: a dot with 1 to 6 letters and digits after it at the end. */
static int has_suffix(const char *s)
{
    const char *dot = strrchr(s, '.');
    size_t n = dot ? strlen(dot + 1) : 0;
    for (size_t i = 1; i <= n; i++)
        if (!isalnum((unsigned char)dot[i]))
            return 0;
    return n >= 1 && n <= 6;
}

static int is_text(const char *s)
{
    struct stat st;
    return s[0] != '-' && !strchr(s, '/') && !has_suffix(s) && stat(s, &st) && errno != EACCES;
}

/* Takes the operand out of the list; 0 if it is none. */
static int take_operand(cli_common *c, const char *s)
{
    for (size_t i = 0; i < c->operands; i++)
        if (c->operand[i] == s) {
            memmove(&c->operand[i], &c->operand[i + 1], (c->operands - i) * sizeof *c->operand);
            c->operands--;
            return 1;
        }
    return 0;
}

int rank_more_texts(rank_options *o, cli_common *c, char *const *argv, const char **doubt, vlk_err *err)
{
    cli_strs all = {0};
    int follows = 0; /* argv[i - 1] is a text */
    *doubt = NULL;
    for (size_t i = 1, q = 0; argv[i] && q <= o->query.n; i++) {
        int first = q < o->query.n && (argv[i] == o->query.s[q] ||
                                       (strncmp(argv[i], "--query=", 8) == 0 && argv[i] + 8 == o->query.s[q]));
        int more = !first && follows && is_text(argv[i]) && take_operand(c, argv[i]);
        follows = first || more;
        if (!follows)
            continue;
        if (vlk_grow(&all.s, &all.cap, all.n + 1, sizeof *all.s, err)) {
            free(all.s);
            return -1;
        }
        all.s[all.n++] = first ? o->query.s[q] : argv[i];
        q += (size_t)first;
        if (more && !strchr(argv[i], ' '))
            *doubt = argv[i];
    }
    free(o->query.s);
    o->query = all;
    return 0;
}
