/* parse.c - command lines: tables to getopt_long, signals, misuse.
 *
 * What getopt_long returns is 256 + the index of the option in one array of all rows (own rows first); letters are
 * looked up in the same array. Whatever is wrong with a command line is one line on standard error, a hint, and
 * status 2. */
#include "cli_internal.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OPTIONS = 96, LONG = 256, LONG_HELP = 1000, LONG_VERSION, LONG_PRINT };

volatile sig_atomic_t cli_stop;

typedef struct parser {
    const cli_program *prog;
    const cli_option *opt[MAX_OPTIONS]; /* what each long name sets; of an alias, the row that it names */
    const char *name[MAX_OPTIONS];
    int n;
    void *own;
    cli_common *common;
} parser;

static void on_signal(int sig)
{
    if (cli_stop) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    cli_stop = sig;
}

/* The first signal asks for an end after the current batch, a second one ends at once. One that the parent ignores
 * (nohup) stays ignored. SIGPIPE gets its default back: a closed pipe ends a program without a message. */
static void set_signals(void)
{
    static const int sigs[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
        struct sigaction a = {0};
        if (sigaction(sigs[i], NULL, &a) == 0 && a.sa_handler == SIG_IGN)
            continue;
        memset(&a, 0, sizeof a);
        a.sa_handler = on_signal;
        sigemptyset(&a.sa_mask);
        sigaction(sigs[i], &a, NULL);
    }
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a write error, not a death without a message */
}

void cli_usage(const cli_program *p, const char *fmt, ...)
{
    vlk_err e = {0};
    char msg[sizeof e.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    vlk_fail(&e, VLK_EUSAGE, "%s", msg);
    fprintf(stderr, "%s: %s\nTry '%s --help' for more information.\n", p->name, e.msg, p->name);
    exit(2);
}

/* ---- the rows, for getopt ------------------------------------------------------------------- */

static const cli_option *row_named(const cli_program *prog, const char *name)
{
    cli_walk w = {.prog = prog};
    const cli_option *o;
    while ((o = cli_walk_next(&w)))
        if (o->kind != CLI_RECORD && strcmp(o->name, name) == 0)
            break;
    return o;
}

static void collect(parser *p)
{
    cli_walk w = {.prog = p->prog};
    for (const cli_option *o; (o = cli_walk_next(&w));) {
        const cli_option *meant = o->kind == CLI_ALIAS ? row_named(p->prog, o->help) : o;
        if (o->kind == CLI_RECORD)
            continue;
        if (!meant || p->n == MAX_OPTIONS)
            cli_usage(p->prog, "the option table is broken at --%s", o->name);
        p->opt[p->n] = meant;
        p->name[p->n++] = o->name;
    }
}

/* --name is the last word, or an option follows. */
static int stands_alone(const char *name, int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0 &&
            (i + 1 == argc || argv[i + 1][0] == '-'))
            return 1;
    return 0;
}

static int has_argument(const cli_option *o, int argc, char *const *argv)
{
    int none = o->kind == CLI_FLAG || (o->may_stand_alone && stands_alone(o->name, argc, argv));
    return none ? no_argument : required_argument;
}

static struct option long_option(const char *name, int has_arg, int val)
{
    return (struct option){.name = name, .has_arg = has_arg, .val = val};
}

/* ---- reading --------------------------------------------------------------------------------- */

enum { NAME_MAX_LEN = 40 };

/* Letters to insert, remove, change or swap with their neighbour until a is b. */
static int distance(const char *a, size_t n, const char *b, size_t m)
{
    int d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (int)(i + j);
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

/* The option whose name is most like what was typed, of n letters; NULL if none is. */
static const char *nearest(const parser *p, const char *typed, size_t n)
{
    const char *name = NULL;
    int least = n > 5 ? 4 : n > 3 ? 3 : 2; /* it takes fewer changes than this */
    for (int i = 0; i < p->n && n <= NAME_MAX_LEN; i++) {
        size_t m = strlen(p->name[i]);
        int d = m <= NAME_MAX_LEN ? distance(typed, n, p->name[i], m) : least;
        if (d < least) {
            least = d;
            name = p->name[i];
        }
    }
    return name;
}

static int begins(const char *name, const char *typed, size_t n)
{
    return strncmp(name, typed, n) == 0;
}

static void complain_of_long(const parser *p, const char *word)
{
    size_t n = strcspn(word + 2, "=");
    vlk_buf list = {0};
    vlk_err err;
    int found = 0;
    for (int i = 0; i < p->n; i++)
        if (begins(p->name[i], word + 2, n) && vlk_buf_addf(&list, &err, "%s--%s", found++ ? ", " : "", p->name[i]))
            break;
    if (n > 0 && found > 1)
        cli_usage(p->prog, "ambiguous option '%s': %s", word, list.data);
    const char *name = nearest(p, word + 2, n);
    if (name)
        cli_usage(p->prog, "unknown option '%s': is --%s meant?", word, name);
    cli_usage(p->prog, "unknown option '%s'", word);
}

/* getopt's own messages name argv[0]; ours name the program. */
static void complain(const parser *p, int c, char **argv)
{
    const char *word = argv[optind > 0 ? optind - 1 : 0];
    if (optopt >= LONG && optopt < LONG + p->n)
        cli_usage(p->prog, c == ':' ? "option '--%s' needs an argument" : "option '--%s' takes no argument",
                  p->name[optopt - LONG]);
    if (optopt >= LONG_HELP)
        cli_usage(p->prog, "option '%s' takes no argument", word);
    if (optopt && c == ':')
        cli_usage(p->prog, "option '-%c' needs an argument", optopt);
    if (optopt)
        cli_usage(p->prog, "unknown option '-%c'", optopt);
    complain_of_long(p, word);
}

static void print_and_exit(const cli_program *p, int what)
{
    vlk_err err = {0};
    if (what == LONG_HELP)
        cli_print_help(p);
    else if (what == LONG_VERSION)
        cli_print_version(p);
    else
        cli_print_options(p);
    if (cli_close_stdout(&err)) {
        fprintf(stderr, "%s: %s\n", p->name, err.msg);
        exit(2);
    }
    exit(0);
}

static void set_option(const parser *p, const cli_option *o, const char *arg)
{
    vlk_err err = {0};
    if (cli_set(o, p->own, p->common, arg, &err))
        cli_usage(p->prog, "--%s: %s", o->name, err.msg);
}

static int index_of_letter(const parser *p, int letter)
{
    int i = 0;
    while (i < p->n - 1 && p->opt[i]->letter != letter)
        i++;
    return i;
}

static void run_getopt(const parser *p, int argc, char **argv)
{
    struct option longs[MAX_OPTIONS + 4];
    char shorts[2 * MAX_OPTIONS + 2] = ":";
    int c;
    size_t s = 1;
    for (int i = 0; i < p->n; i++) {
        longs[i] = long_option(p->name[i], has_argument(p->opt[i], argc, argv), LONG + i);
        if (p->opt[i]->letter && strcmp(p->name[i], p->opt[i]->name) == 0) {
            shorts[s++] = p->opt[i]->letter;
            if (p->opt[i]->kind != CLI_FLAG)
                shorts[s++] = ':';
        }
    }
    longs[p->n] = long_option("help", no_argument, LONG_HELP);
    longs[p->n + 1] = long_option("version", no_argument, LONG_VERSION);
    longs[p->n + 2] = long_option("print-options", no_argument, LONG_PRINT);
    longs[p->n + 3] = long_option(NULL, 0, 0);
    opterr = 0;
    optind = 0; /* glibc and musl: start over, since a command line may be read twice */
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            complain(p, c, argv);
        if (c >= LONG_HELP)
            print_and_exit(p->prog, c);
        set_option(p, p->opt[c >= LONG ? c - LONG : index_of_letter(p, c)], optarg);
    }
}

void cli_parse_over(const cli_program *prog, void *own, cli_common *common, int argc, char **argv)
{
    parser p = {.prog = prog, .own = own, .common = common};
    common->default_model = prog->model;
    collect(&p);
    run_getopt(&p, argc, argv);
    common->operand = argv + optind;
    common->operands = (size_t)(argc - optind);
}

void cli_defaults(cli_common *common)
{
    *common = (cli_common){.threads = (size_t)vlk_cpu_count()};
}

void cli_parse(const cli_program *prog, void *own, cli_common *common, int argc, char **argv)
{
    cli_guard_stdio();
    set_signals();
    cli_watch_faults(prog);
    cli_defaults(common);
    cli_parse_over(prog, own, common, argc, argv);
}

char **cli_copy_args(const cli_program *p, int argc, char *const *argv)
{
    vlk_err err = {0};
    char **copy = vlk_calloc((size_t)argc + 1, sizeof *copy, &err);
    if (!copy)
        cli_usage(p, "%s", err.msg);
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    return copy;
}

const char *cli_split(const char *arg, char sep, char *first, size_t size)
{
    const char *at = strchr(arg, sep);
    size_t n = at ? (size_t)(at - arg) : size;
    if (n >= size)
        return NULL;
    memcpy(first, arg, n);
    first[n] = 0;
    return at + 1;
}

/* ---- what options mean together ------------------------------------------------------------ */

static const cli_word suffix[] = {{"npy", CLI_NPY}, {"tsv", CLI_TSV}, {"jsonl", CLI_JSONL},
                                  {"tar", CLI_TAR}, {"png", CLI_PNG}, {"svg", CLI_SVG},
                                  {NULL, 0}};

static cli_format format_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    int format = CLI_AUTO;
    return dot && cli_word_value(suffix, dot + 1, &format) == 0 ? (cli_format)format : CLI_AUTO;
}

int cli_output_is_dir(const cli_common *c)
{
    struct stat st;
    size_t n = c->output ? strlen(c->output) : 0;
    if (n == 0 || strcmp(c->output, "-") == 0)
        return 0;
    return c->output[n - 1] == '/' || (stat(c->output, &st) == 0 && S_ISDIR(st.st_mode));
}

cli_format cli_output_format(const cli_program *p, const cli_common *c, unsigned allowed, cli_format fallback)
{
    int to_file = c->output && strcmp(c->output, "-") != 0 && !cli_output_is_dir(c);
    cli_format by_name = to_file ? format_of(c->output) : CLI_AUTO;
    cli_format f = c->format != CLI_AUTO ? c->format : to_file ? by_name : fallback;
    if (f == CLI_AUTO)
        cli_usage(p, "'%s': the suffix is none of .npy .tsv .jsonl .tar: give the format with --format", c->output);
    if (!(allowed & 1u << f))
        cli_usage(p, "this cannot be written as %s", cli_word_of(suffix, (int)f));
    if (by_name != CLI_AUTO && by_name != f)
        cli_usage(p, "'%s' and --format %s contradict each other", c->output, cli_word_of(suffix, (int)f));
    return f;
}

void cli_need_input(const cli_program *p, const cli_common *c)
{
    if (c->operands == 0 && !c->files_from && isatty(STDIN_FILENO))
        cli_usage(p, "no input (and standard input is a terminal)");
}
