/* help.c - what is made from the tables: --help, --print-options.
 *
 * --print-options prints one line per option: letter TAB long TAB metavar TAB help TAB role, with "-" for what is
 * absent. Lint, the check of the manual pages and the completions read it. */
#include "cli_internal.h"

#include <string.h>

enum { COLUMN = 30, WIDTH = 80 }; /* where the help texts begin; columns of a terminal */

/* The text in lines that fit, each at COLUMN; the first one is where the cursor is. */
static void wrapped(const char *s)
{
    const size_t room = WIDTH - COLUMN;
    while (strlen(s) > room) {
        size_t n = room;
        while (n > 0 && s[n] != ' ')
            n--;
        if (n == 0)
            break;
        printf("%.*s\n%*s", (int)n, s, COLUMN, "");
        s += n + 1;
    }
    printf("%s\n", s);
}

static void help_row(char letter, const char *name, const char *metavar, const char *help)
{
    char left[128];
    int n = snprintf(left, sizeof left, "  %c%c%c --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                     letter ? ',' : ' ', name, *metavar ? " " : "", metavar);
    if (n >= COLUMN)
        printf("%s\n%*s", left, COLUMN, "");
    else
        printf("%-*s", COLUMN, left);
    wrapped(help);
}

static void option_line(char letter, const char *name, const char *metavar, const char *help, const char *role)
{
    printf("%c\t%s\t%s\t%s\t%s\n", letter ? letter : '-', name, *metavar ? metavar : "-", help, role);
}

/* An option that the command line shows. */
static int is_shown(const cli_option *o)
{
    return o->kind != CLI_RECORD && o->kind != CLI_ALIAS;
}

static void help_options(const cli_program *p)
{
    const char *group = "";
    cli_walk w = {.prog = p};
    for (const cli_option *o; (o = cli_walk_next(&w));) {
        vlk_buf metavar = {0};
        vlk_err err;
        const char *heading = w.group ? w.group : "Options";
        if (!is_shown(o))
            continue;
        if (strcmp(group, heading) != 0)
            printf("\n%s:\n", heading);
        group = heading;
        help_row(o->letter, o->name, cli_metavar(o, &metavar, &err) ? "..." : metavar.data, o->help);
        vlk_buf_clear(&metavar);
    }
}

void cli_print_help(const cli_program *p)
{
    const char *line = p->synopsis;
    for (int i = 0; line; i++) {
        const char *end = strchr(line, '\n');
        printf("%s %s %.*s\n", i ? "  or: " : "Usage:", p->name, (int)(end ? (size_t)(end - line) : strlen(line)),
               line);
        line = end ? end + 1 : NULL;
    }
    printf("%s\n", p->about);
    help_options(p);
    printf("\n");
    help_row(0, "help", "", "print this text and exit");
    help_row(0, "version", "", "print version, backend and kernel, and exit");
    if (p->examples)
        printf("\nExamples:\n%s", p->examples);
    printf("\nExit status: 0 all done, 1 some items were skipped (or nothing matched),\n"
           "2 error: do not trust the output.\n"
           "Manual: man %s\n",
           p->name);
}

void cli_print_options(const cli_program *p)
{
    static const char *const role[] = {
        [CLI_NO_ROLE] = "-",     [CLI_VALUE] = "value", [CLI_SCORE] = "score", [CLI_FREE] = "free",
        [CLI_LENGTH] = "length", [CLI_PLACE] = "place", [CLI_NOW] = "now"};
    cli_walk w = {.prog = p};
    for (const cli_option *o; (o = cli_walk_next(&w));) {
        vlk_buf metavar = {0};
        vlk_err err;
        if (is_shown(o))
            option_line(o->letter, o->name, cli_metavar(o, &metavar, &err) ? "..." : metavar.data, o->help,
                        role[o->role]);
        vlk_buf_clear(&metavar);
    }
    option_line(0, "help", "", "print this text and exit", role[CLI_NOW]);
    option_line(0, "version", "", "print version, backend and kernel, and exit", role[CLI_NOW]);
}
