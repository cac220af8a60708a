/* common.c - the options that several programs have: their rows, their words, their forms. */
#include "cli_internal.h"
#include "table.h"

#include <string.h>

const cli_word cli_dtype_words[] = {{"f32", VLK_F32}, {"bf16", VLK_BF16}, {NULL, 0}};
const cli_word cli_alpha_words[] = {{"auto", VLK_ALPHA_AUTO},
                                    {"drop", VLK_ALPHA_DROP},
                                    {"white", VLK_ALPHA_WHITE},
                                    {"black", VLK_ALPHA_BLACK},
                                    {NULL, 0}};
static const cli_word format_words[] = {{"auto", CLI_AUTO},   {"npy", CLI_NPY}, {"tsv", CLI_TSV},
                                        {"jsonl", CLI_JSONL}, {"tar", CLI_TAR}, {NULL, 0}};
static const cli_word table_words[] = {{"tsv", CLI_TSV}, {"jsonl", CLI_JSONL}, {NULL, 0}};
static const cli_word long_words[] = {{"truncate", CLI_LONG_TRUNCATE}, {"error", CLI_LONG_ERROR}, {NULL, 0}};
static const cli_word progress_words[] = {
    {"auto", CLI_PROGRESS_AUTO}, {"always", CLI_PROGRESS_ALWAYS}, {"never", CLI_PROGRESS_NEVER}, {NULL, 0}};

/* "N" items or "P%" of them. */
static int parse_max_bad(void *value, const char *arg, vlk_err *err)
{
    cli_max_bad *m = value;
    char number[64];
    size_t n = strlen(arg);
    int percent = n > 1 && arg[n - 1] == '%';
    if (n - (size_t)percent >= sizeof number)
        return vlk_fail(err, VLK_EUSAGE, "'%s' is too long", arg);
    memcpy(number, arg, n - (size_t)percent);
    number[n - (size_t)percent] = 0;
    uint64_t whole = 0;
    if (percent ? vlk_parse_f64(number, 0, 100, &m->value) : vlk_parse_u64(number, 0, 1ull << 53, &whole))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is neither a number of items nor a percentage such as 2%%", arg);
    if (!percent)
        m->value = (double)whole;
    m->set = 1;
    m->percent = percent;
    return 0;
}

/* "I/N", I from 0. */
static int parse_shard(void *value, const char *arg, vlk_err *err)
{
    cli_shard *s = value;
    char first[32];
    const char *n = cli_split(arg, '/', first, sizeof first);
    if (n && vlk_parse_u64(n, 1, 1ull << 53, &s->n) == 0 && vlk_parse_u64(first, 0, s->n - 1, &s->i) == 0)
        return 0;
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not I/N with I from 0 to N-1", arg);
}

/* One byte, or "tab". */
static int parse_separator(void *value, const char *arg, vlk_err *err)
{
    char c = strcmp(arg, "tab") == 0 || strcmp(arg, "\\t") == 0 ? '\t' : arg[0];
    if ((c != '\t' && strlen(arg) != 1) || (unsigned char)c >= 0x80 || c == '"' || c == '\n' || c == '\r')
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not one character such as ; or the word tab", arg);
    memcpy(value, &c, 1);
    return 0;
}

static int put_separator(const void *value, vlk_buf *out, vlk_err *err)
{
    const char *c = value;
    return *c ? vlk_json_quote(out, c, 1, err) : vlk_buf_adds(out, "null", err);
}

static int get_separator(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    if (s)
        return strlen(s) == 1 ? parse_separator(value, s, err)
                              : vlk_fail(err, VLK_EFORMAT, "%s: not one character", name);
    memset(value, 0, 1);
    return 0;
}

static const cli_form separator_form = {parse_separator, put_separator, get_separator};
static const cli_form max_bad_form = {.parse = parse_max_bad};
static const cli_form shard_form = {.parse = parse_shard};

#define OPTIONS_OF cli_common
#define OF(bits) .bit = bits

static const cli_option common_options[] = {
    {GROUP("Model")},
    {STR('m', "model", model, "MODEL", "folder, file, installed name or org/name (default: the installed model)"),
     PLACE, OF(CLI_MODEL)},
    {STR(0, "arch", arch, "NAME|FILE", CLI_ARCH_HELP), PLACE, OF(CLI_ARCH)},
    {WORD(0, "dtype", dtype, cli_dtype_words, "arithmetic of the linear layers (default: f32)"), VALUE, OF(CLI_MODEL)},
    {FLAG(0, "info", info, "print what the model is, as JSON, and exit"), NOW, OF(CLI_LOOK)},
    {FLAG(0, "explain", explain, "print the plan, with memory and measured rates, and exit"), NOW, OF(CLI_LOOK)},

    {GROUP("Input")},
    {STR('T', "files-from", files_from, "FILE", "read operands from a list, one per line"), PLACE, OF(CLI_FILES)},
    {FLAG('0', "null", null, "names in lists end with NUL, not newline"), NOW, OF(CLI_FILES)},
    {FORM(0, "shard", shard, shard_form, "I/N", "only items whose key hashes to I of N (I from 0)"), VALUE,
     OF(CLI_FILES)},
    {STR(0, "text-from", text_from, "NAME", "captions: KEY.NAME, a field of KEY.json, or a column by name or number"),
     VALUE, OF(CLI_SOURCES)},
    {STR(0, "image-from", image_from, "NAME", "images: KEY.NAME, or a column of lists by name or number"), VALUE,
     OF(CLI_SOURCES)},
    {STR(0, "images-in", images_in, "DIR", "the folder of the images that lists name (default: the list's)"), PLACE,
     OF(CLI_SOURCES)},
    {FORM(0, "separator", separator, separator_form, "C", "of CSV: one character or tab (default: tab or comma)"),
     VALUE, OF(CLI_SOURCES)},
    {FLAG(0, "no-exif", pixels.no_exif, "leave images as stored, not turned by EXIF or XMP"), VALUE, OF(CLI_IMAGES)},
    {WORD(0, "alpha", pixels.alpha, cli_alpha_words, "transparency (default: auto, as the model's reference does)"),
     VALUE, OF(CLI_IMAGES)},
    {SIZE(0, "max-pixels", pixels.max_pixels, "N", 1, 1e12, "refuse larger images (default: 100000000)"), VALUE,
     OF(CLI_IMAGES)},
    {FLAG(0, "strict", pixels.strict, "skip images that are damaged and repaired, or clipped"), VALUE, OF(CLI_IMAGES)},
    {WORD(0, "long-text", long_text, long_words, "texts longer than the context (default: truncate)"), VALUE,
     OF(CLI_TEXTS)},

    {GROUP("Output")},
    {STR('o', "output", output, "FILE|DIR", "the suffix chooses the format (default: standard output)"), NOW,
     OF(CLI_OUTPUT)},
    {WORD(0, "format", format, format_words, "format of the data (default: by suffix, else tsv)"), NOW, OF(CLI_OUTPUT)},
    {SIZE(0, "rows", rows, "N", 1, 1e12, "with -o DIR: parts of N rows"), NOW, OF(CLI_OUTPUT)},
    {FLAG(0, "force", force, "with -o DIR: make finished parts again"), NOW, OF(CLI_OUTPUT)},
    {STR('o', "output", output, "FILE", "the suffix chooses the format (default: standard output)"), NOW,
     OF(CLI_ONE_TABLE)},
    {WORD(0, "format", format, table_words, "format of the data (default: by suffix, else tsv)"), NOW,
     OF(CLI_ONE_TABLE)},
    {FLAG(0, "allow-empty", allow_empty, "-o may replace rows even if this run has none"), NOW,
     OF(CLI_OUTPUT | CLI_ONE_TABLE)},

    {GROUP("Errors and messages")},
    {STR(0, "errors", errors, "FILE", "list skipped items there, as JSON lines"), NOW, OF(CLI_ERRORS)},
    {FORM(0, "max-bad", max_bad, max_bad_form, "N|P%", "exit with status 2 if more items are bad"), NOW,
     OF(CLI_ERRORS)},
    {FLAG('q', "quiet", quiet, "no summary, no notes"), NOW, OF(CLI_ERRORS)},
    {WORD(0, "progress", progress, progress_words, "on standard error (default: only on a terminal)"), NOW,
     OF(CLI_ERRORS)},

    {GROUP("Work")},
    {SIZE('j', "threads", threads, "N", 1, 1024, "changes no value (default: the cores that may be used)"), NOW,
     OF(CLI_THREADS)},
    {SIZE('b', "batch", batch, "N", 1, 65536, "items computed together; changes no value"), NOW, OF(CLI_BATCH)},
    {END}};

const cli_option *cli_walk_next(cli_walk *w)
{
    for (;;) {
        if (!w->at && w->prog->options)
            w->at = w->prog->options;
        else if (w->at && w->at->kind != CLI_END)
            w->at++;
        if ((!w->at || w->at->kind == CLI_END) && !w->common) {
            w->common = 1;
            w->at = common_options;
        }
        if (w->at->kind == CLI_END)
            return NULL;
        if (w->at->kind == CLI_GROUP)
            w->group = w->at->help;
        else if (!w->common || w->prog->common & w->at->bit)
            return w->at;
    }
}
