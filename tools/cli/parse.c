/* cli.c - command lines: tables to getopt_long, arguments to checked values, signals.
 *
 * A value that getopt_long returns is 256 + the index of the option in a merged array (own options first); letters are
 * looked up in the same array. Everything that is wrong with a command line is one line on standard error, a hint, and
 * status 2. */
#include "cli_internal.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_OPTIONS = 96, OPT_HELP = 1000, OPT_VERSION, OPT_PRINT };

volatile sig_atomic_t cli_stop;

typedef struct parser {
    const cli_program *prog;
    const cli_option *opt[MAX_OPTIONS];
    void *base[MAX_OPTIONS];
    void *own, *common;
    int n;
} parser;

static void on_signal(int sig)
{
    if (cli_stop) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    cli_stop = sig;
}

/* The first signal asks for an end behind the current batch, a second one ends at once. One that the parent had ignored
 * (nohup) stays ignored; SIGPIPE gets its default back, since a closed pipe is to end a program without a message. */
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
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write, not a death without a word */
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

/* ---- values -------------------------------------------------------------------------------- */

static int add_str(cli_strs *l, const char *s)
{
    vlk_err e;
    if (vlk_grow(&l->s, &l->cap, l->n + 1, sizeof *l->s, &e) != 0)
        return -1;
    l->s[l->n++] = s;
    return 0;
}

static void choose(const parser *p, const cli_option *o, int *target, const char *arg)
{
    vlk_buf words = {0};
    for (int i = 0; o->words[i]; i++) {
        if (strcmp(arg, o->words[i]) == 0) {
            *target = i;
            return;
        }
    }
    for (int i = 0; o->words[i]; i++)
        if (vlk_buf_addf(&words, NULL, "%s%s", i ? ", " : "", o->words[i]) != 0)
            break;
    cli_usage(p->prog, "--%s: '%s' is none of %s", o->name, arg, words.data ? words.data : "the known words");
}

static void set_size(const parser *p, const cli_option *o, void *target, const char *arg)
{
    uint64_t v, min = (uint64_t)o->min, max = o->max > 0 ? (uint64_t)o->max : SIZE_MAX >> 1;
    if (vlk_parse_u64(arg, min, max, &v) != 0) {
        if (o->max > 0)
            cli_usage(p->prog, "--%s: '%s' is no whole number from %llu to %llu", o->name, arg, (unsigned long long)min,
                      (unsigned long long)max);
        cli_usage(p->prog, "--%s: '%s' is no whole number of %llu or more", o->name, arg, (unsigned long long)min);
    }
    *(size_t *)target = (size_t)v;
}

static void set_num(const parser *p, const cli_option *o, void *target, const char *arg)
{
    double min = o->min, max = o->max;
    if (min == 0 && max == 0)
        max = 1e300;
    if (vlk_parse_f64(arg, min, max, (double *)target) != 0)
        cli_usage(p->prog, "--%s: '%s' is no number from %g to %g", o->name, arg, min, max);
}

static void set_option(const parser *p, int i, const char *arg)
{
    const cli_option *o = p->opt[i];
    void *target = (char *)p->base[i] + o->offset;
    vlk_err err = {0};
    switch (o->kind) {
    case CLI_FLAG:
        *(int *)target = 1;
        break;
    case CLI_STR: /* all are names; a script's variable that was never set is no name */
        if (*arg == 0)
            cli_usage(p->prog, "--%s: the %s is empty", o->name, o->metavar);
        *(const char **)target = arg;
        break;
    case CLI_STRS:
        if (add_str(target, arg) != 0)
            cli_usage(p->prog, "--%s: no memory", o->name);
        break;
    case CLI_SIZE:
        set_size(p, o, target, arg);
        break;
    case CLI_NUM:
        set_num(p, o, target, arg);
        break;
    case CLI_CHOICE:
        choose(p, o, target, arg);
        break;
    case CLI_PARSE:
        if (o->parse(target, arg, &err) != 0)
            cli_usage(p->prog, "--%s: %s", o->name, err.msg);
        break;
    }
}

/* ---- getopt -------------------------------------------------------------------------------- */

static int collect(const cli_option *o, int common, void *arg)
{
    parser *p = arg;
    if (p->n == MAX_OPTIONS)
        return -1;
    p->opt[p->n] = o;
    p->base[p->n++] = common ? p->common : p->own;
    return 0;
}

static void add_long(struct option *l, const char *name, int has_arg, int val)
{
    l->name = name;
    l->has_arg = has_arg;
    l->flag = NULL;
    l->val = val;
}

/* getopt's own messages name argv[0]; ours name the program. */
static void complain(const parser *p, int c, char **argv)
{
    const char *word = argv[optind > 0 ? optind - 1 : 0];
    if (optopt >= 256 && optopt < 256 + p->n) {
        if (c == ':')
            cli_usage(p->prog, "option '--%s' needs an argument", p->opt[optopt - 256]->name);
        cli_usage(p->prog, "option '--%s' takes no argument", p->opt[optopt - 256]->name);
    }
    if (optopt >= OPT_HELP)
        cli_usage(p->prog, "option '%s' takes no argument", word);
    if (optopt && c == ':')
        cli_usage(p->prog, "option '-%c' needs an argument", optopt);
    if (optopt)
        cli_usage(p->prog, "unknown option '-%c'", optopt);
    cli_usage(p->prog, "unknown or ambiguous option '%s'", word);
}

static void special(const cli_program *p, int c)
{
    vlk_err err = {0};
    if (c == OPT_HELP)
        cli_print_help(p);
    else if (c == OPT_VERSION)
        cli_print_version(p);
    else
        cli_print_options(p);
    if (cli_close_stdout(&err) != 0) {
        fprintf(stderr, "%s: %s\n", p->name, err.msg);
        exit(2);
    }
    exit(0);
}

static void run_getopt(parser *p, int argc, char **argv)
{
    struct option longs[MAX_OPTIONS + 4];
    char shorts[2 * MAX_OPTIONS + 2] = ":";
    int n = 0, c;
    size_t s = 1;
    for (; n < p->n; n++) {
        const cli_option *o = p->opt[n];
        add_long(&longs[n], o->name, o->kind == CLI_FLAG ? no_argument : required_argument, 256 + n);
        if (o->letter) {
            shorts[s++] = o->letter;
            if (o->kind != CLI_FLAG)
                shorts[s++] = ':';
        }
    }
    shorts[s] = 0;
    add_long(&longs[n++], "help", no_argument, OPT_HELP);
    add_long(&longs[n++], "version", no_argument, OPT_VERSION);
    add_long(&longs[n++], "print-options", no_argument, OPT_PRINT);
    add_long(&longs[n], NULL, 0, 0);
    opterr = 0;
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            complain(p, c, argv);
        if (c >= OPT_HELP)
            special(p->prog, c);
        int i = c - 256;
        for (int k = 0; c < 256 && k < p->n; k++)
            if (p->opt[k]->letter == c)
                i = k;
        set_option(p, i, optarg);
    }
}

void cli_parse(const cli_program *prog, void *own, cli_common *common, int argc, char **argv)
{
    cli_guard_stdio();
    set_signals();
    memset(common, 0, sizeof *common);
    common->threads = (size_t)vlk_cpu_count();
    parser p = {.prog = prog, .own = own, .common = common};
    if (cli_each_option(prog, collect, &p) != 0)
        cli_usage(prog, "too many options in the table");
    run_getopt(&p, argc, argv);
    common->operand = argv + optind;
    common->operands = (size_t)(argc - optind);
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

static const char *const format_names[] = {"", "npy", "tsv", "jsonl", "tar", "png", "svg"};

static cli_format format_of(const char *path)
{
    const char *base = strrchr(path, '/'), *dot;
    base = base ? base + 1 : path;
    dot = strrchr(base, '.');
    for (int f = CLI_NPY; dot && f <= CLI_SVG; f++)
        if (strcmp(dot + 1, format_names[f]) == 0)
            return (cli_format)f;
    return CLI_AUTO;
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
    cli_format f = (cli_format)c->format, by_name = CLI_AUTO;
    int file = c->output && strcmp(c->output, "-") != 0 && !cli_output_is_dir(c);
    if (file)
        by_name = format_of(c->output);
    if (f == CLI_AUTO)
        f = by_name != CLI_AUTO ? by_name : file ? CLI_AUTO : fallback;
    if (f == CLI_AUTO)
        cli_usage(p, "'%s': the name tells no form of output (.npy .tsv .jsonl .tar); say it with --format", c->output);
    if (!(allowed & 1u << f))
        cli_usage(p, "%s is no form of output for this", format_names[f]);
    if (by_name != CLI_AUTO && by_name != f)
        cli_usage(p, "'%s' and --format %s contradict each other", c->output, format_names[f]);
    return f;
}

void cli_need_input(const cli_program *p, const cli_common *c)
{
    if (c->operands == 0 && !c->files_from && isatty(STDIN_FILENO))
        cli_usage(p, "no input (and standard input is a terminal)");
}
