/* cli_help.c - the common options, and what is made from the tables: --help, --version, --print-options.
 *
 * --print-options gives one line an option: letter TAB long TAB metavar TAB help, with "-" where there is none. The
 * lint, the check of the man pages and the completions read it. */
#include "cli_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/kernel/kernel.h"

static const char *const format_words[] = {"auto", "npy", "tsv", "jsonl", "tar", NULL};
static const char *const dtype_words[] = {"f32", "bf16", NULL};
static const char *const progress_words[] = {"auto", "always", "never", NULL};
static const char *const alpha_words[] = {"auto", "drop", "white", "black", NULL};
static const char *const long_words[] = {"truncate", "error", NULL};

/* "N" items or "P%" of them. */
static int parse_max_bad(void *target, const char *arg, vlk_err *err)
{
    cli_common *c = target;
    char number[64];
    size_t n = strlen(arg);
    int percent = n > 1 && arg[n - 1] == '%';
    if (n - (size_t)percent >= sizeof number)
        return vlk_fail(err, VLK_EUSAGE, "'%s' is too long", arg);
    memcpy(number, arg, n - (size_t)percent);
    number[n - (size_t)percent] = 0;
    uint64_t whole = 0;
    if (percent ? vlk_parse_f64(number, 0, 100, &c->max_bad.value) : vlk_parse_u64(number, 0, 1ull << 53, &whole))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is neither a number of items nor a percentage such as 2%%", arg);
    if (!percent)
        c->max_bad.value = (double)whole;
    c->max_bad.set = 1;
    c->max_bad.percent = percent;
    return 0;
}

/* "I/N", I from 0. */
static int parse_shard(void *target, const char *arg, vlk_err *err)
{
    cli_common *c = target;
    char first[32];
    const char *n = cli_split(arg, '/', first, sizeof first);
    if (n && vlk_parse_u64(n, 1, 1ull << 53, &c->shard.n) == 0 &&
        vlk_parse_u64(first, 0, c->shard.n - 1, &c->shard.i) == 0)
        return 0;
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not I/N with I from 0 to N-1", arg);
}

#define AT(field) offsetof(cli_common, field)

const cli_option cli_common_options[] = {
    {'m', "model", CLI_STR, AT(model), "MODEL",
     "folder, file, installed name or org/name (default: the one that ships)", "Model", 0, 0, NULL, NULL, CLI_MODEL},
    {0, "arch", CLI_STR, AT(arch), "NAME|FILE", "config for weights that bring none", "Model", 0, 0, NULL, NULL,
     CLI_ARCH},
    {0, "dtype", CLI_CHOICE, AT(dtype), "f32|bf16", "arithmetic of the linear layers (default: f32)", NULL, 0, 0,
     dtype_words, NULL, CLI_MODEL},
    {0, "info", CLI_FLAG, AT(info), NULL, "print what the model is, as JSON, and end", "Model", 0, 0, NULL, NULL,
     CLI_LOOK},
    {0, "explain", CLI_FLAG, AT(explain), NULL, "print the plan, with memory and measured rates, and end", NULL, 0, 0,
     NULL, NULL, CLI_LOOK},
    {'T', "files-from", CLI_STR, AT(files_from), "FILE", "operands from a list, one a line", "Input", 0, 0, NULL, NULL,
     CLI_FILES},
    {'0', "null", CLI_FLAG, AT(null), NULL, "names in lists end in NUL, not newline", NULL, 0, 0, NULL, NULL,
     CLI_FILES},
    {0, "shard", CLI_PARSE, 0, "I/N", "only items whose key hashes to I of N (from 0)", NULL, 0, 0, NULL, parse_shard,
     CLI_FILES},
    {0, "no-exif", CLI_FLAG, AT(no_exif), NULL, "leave images as stored, not turned by EXIF", "Input", 0, 0, NULL, NULL,
     CLI_IMAGES},
    {0, "alpha", CLI_CHOICE, AT(alpha), "auto|drop|white|black",
     "transparency (default: auto, as the model's reference)", NULL, 0, 0, alpha_words, NULL, CLI_IMAGES},
    {0, "max-pixels", CLI_SIZE, AT(max_pixels), "N", "refuse larger images (default: 100000000)", NULL, 1, 1e12, NULL,
     NULL, CLI_IMAGES},
    {0, "long-text", CLI_CHOICE, AT(long_text), "truncate|error", "texts beyond the context (default: truncate)", NULL,
     0, 0, long_words, NULL, CLI_TEXTS},
    {'o', "output", CLI_STR, AT(output), "FILE|DIR", "the suffix chooses the form (default: standard output)", "Output",
     0, 0, NULL, NULL, CLI_OUTPUT},
    {0, "format", CLI_CHOICE, AT(format), "npy|tsv|jsonl|tar", "form of the data (default: by the suffix, else tsv)",
     NULL, 0, 0, format_words, NULL, CLI_OUTPUT},
    {0, "rows", CLI_SIZE, AT(rows), "N", "with -o DIR: parts of N rows", NULL, 1, 1e12, NULL, NULL, CLI_OUTPUT},
    {0, "force", CLI_FLAG, AT(force), NULL, "with -o DIR: make finished parts again", NULL, 0, 0, NULL, NULL,
     CLI_OUTPUT},
    {'o', "output", CLI_STR, AT(output), "FILE", "the suffix chooses the form (default: standard output)", "Output", 0,
     0, NULL, NULL, CLI_ONE_TABLE},
    {0, "format", CLI_CHOICE, AT(format), "tsv|jsonl", "form of the data (default: by the suffix, else tsv)", NULL, 0,
     0, format_words, NULL, CLI_ONE_TABLE},
    {0, "rows", CLI_SIZE, AT(rows), "N", "refused: one table has no parts", NULL, 1, 1e12, NULL, NULL, CLI_ONE_TABLE},
    {0, "force", CLI_FLAG, AT(force), NULL, "no effect: one table has no parts", NULL, 0, 0, NULL, NULL, CLI_ONE_TABLE},
    {0, "errors", CLI_STR, AT(errors), "FILE", "name skipped items there, as JSON lines", "Errors and messages", 0, 0,
     NULL, NULL, CLI_ERRORS},
    {0, "max-bad", CLI_PARSE, 0, "N|P%", "status 2 if more items are bad", NULL, 0, 0, NULL, parse_max_bad, CLI_ERRORS},
    {'q', "quiet", CLI_FLAG, AT(quiet), NULL, "no summary, no notes", NULL, 0, 0, NULL, NULL, CLI_ERRORS},
    {0, "progress", CLI_CHOICE, AT(progress), "auto|always|never", "on standard error (default: only on a terminal)",
     NULL, 0, 0, progress_words, NULL, CLI_ERRORS},
    {'j', "threads", CLI_SIZE, AT(threads), "N", "default: the cores that may be used; changes no value", "Work", 1,
     1024, NULL, NULL, CLI_THREADS},
    {'b', "batch", CLI_SIZE, AT(batch), "N", "items computed together; changes no value", NULL, 1, 65536, NULL, NULL,
     CLI_BATCH},
    {0, "seed", CLI_SIZE, AT(seed), "N", "of random numbers, where there are any", NULL, 0, 9e15, NULL, NULL, CLI_SEED},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, NULL, 0, 0, NULL, NULL, 0},
};

int cli_each_option(const cli_program *p, int (*fn)(const cli_option *o, int common, void *arg), void *arg)
{
    int rc = 0;
    for (const cli_option *o = p->options; o && o->name && rc == 0; o++)
        rc = fn(o, 0, arg);
    for (const cli_option *o = cli_common_options; o->name && rc == 0; o++)
        if (p->common & o->bit)
            rc = fn(o, 1, arg);
    return rc;
}

/* ---- --help -------------------------------------------------------------------------------- */

enum { COLUMN = 30 };

static void help_row(char letter, const char *name, const char *metavar, const char *help)
{
    char left[128];
    int n = snprintf(left, sizeof left, "  %c%c%c --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
                     letter ? ',' : ' ', name, metavar ? " " : "", metavar ? metavar : "");
    if (n >= COLUMN)
        printf("%s\n%*s%s\n", left, COLUMN, "", help);
    else
        printf("%-*s%s\n", COLUMN, left, help);
}

typedef struct help_state {
    const char *group;
} help_state;

static int help_option(const cli_option *o, int common, void *arg)
{
    help_state *s = arg;
    (void)common;
    const char *group = o->group ? o->group : s->group ? NULL : "Options";
    if (group && (!s->group || strcmp(group, s->group) != 0)) {
        printf("\n%s:\n", group);
        s->group = group;
    }
    help_row(o->letter, o->name, o->metavar, o->help);
    return 0;
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
    help_state s = {0};
    cli_each_option(p, help_option, &s);
    printf("\n");
    help_row(0, "help", NULL, "this text");
    help_row(0, "version", NULL, "version, backend and kernel");
    if (p->examples)
        printf("\nExamples:\n%s", p->examples);
    printf("\nStatus: 0 all done, 1 some items were skipped (or nothing matched), 2 do not trust the output.\n"
           "Manual: man %s\n",
           p->name);
}

static void option_line(char letter, const char *name, const char *metavar, const char *help)
{
    printf("%c\t%s\t%s\t%s\n", letter ? letter : '-', name, metavar ? metavar : "-", help);
}

static int print_option(const cli_option *o, int common, void *arg)
{
    (void)common;
    (void)arg;
    option_line(o->letter, o->name, o->metavar, o->help);
    return 0;
}

void cli_print_options(const cli_program *p)
{
    cli_each_option(p, print_option, NULL);
    option_line(0, "help", NULL, "this text");
    option_line(0, "version", NULL, "version, backend and kernel");
}

/* ---- --version ----------------------------------------------------------------------------- */

int cli_version_text(const cli_program *p, vlk_buf *out, vlk_err *err)
{
    char text[256];
    vlk_kernel_options o = {.threads = 1};
    vlk_kernel *k = cli_kernel_options(&o, err) == 0 ? vlk_kernel_new(&o, err) : NULL;
    if (!k)
        return -1;
    vlk_kernel_text(k, text, sizeof text);
    vlk_kernel_free(k);
    return vlk_buf_addf(out, err, "%s (vlkit) %s, %s", p->name, VLK_VERSION, text);
}

void cli_print_version(const cli_program *p)
{
    vlk_buf b = {0};
    vlk_err err = {0};
    if (cli_version_text(p, &b, &err) == 0)
        printf("%s\n", b.data);
    else
        printf("%s (vlkit) %s, no kernel: %s\n", p->name, VLK_VERSION, err.msg);
    vlk_buf_clear(&b);
}

/* One of `words` from the environment; unset and empty are the first. */
static int env_choice(const char *name, const char *const *words, int *out, vlk_err *err)
{
    const char *v = getenv(name);
    *out = 0;
    if (!v || !*v)
        return 0;
    for (int i = 0; words[i]; i++) {
        if (strcmp(v, words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return vlk_fail(err, VLK_EUSAGE, "environment: %s=%s is not known (expected one of auto, %s, %s%s%s)", name, v,
                    words[1], words[2], words[3] ? ", " : "", words[3] ? words[3] : "");
}

int cli_kernel_options(vlk_kernel_options *o, vlk_err *err)
{
    static const char *const gemm[] = {"auto", "dnnl", "openblas", NULL};
    static const char *const cpu[] = {"auto", "generic", "avx2", "avx512", NULL};
    int g = 0, c = 0;
    if (env_choice("VLK_GEMM", gemm, &g, err) != 0 || env_choice("VLK_CPU", cpu, &c, err) != 0)
        return -1;
    o->backend = (vlk_backend)g;
    o->cpu = (vlk_cpu)c;
    return 0;
}
