/* clip-rank.c - search, zero-shot classification and recall over embeddings: files of vectors, or images that are
 * embedded on the fly. Options, and the order of things; rank.h says where the work is done. */
#include "cli/table.h"
#include "rank/rank.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Cosines may be negative and 0 is a value like any other, so `set` notes that --min was given. */
static int parse_min(void *value, const char *arg, vlk_err *err)
{
    struct rank_min *min = value;
    min->set = 1;
    if (vlk_parse_f64(arg, -1e30, 1e30, &min->value))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not a number", arg);
    return 0;
}

static const cli_form min_form = {.parse = parse_min};

#define OPTIONS_OF rank_options

static const cli_option own[] = {
    {GROUP("What to do")},
    {STRS(0, "query", query, "TEXT", "rank by similarity to TEXT (may be repeated)"), VALUE},
    {STR(0, "queries", queries, "FILE", "one query per line, or the rows of an .npy"), VALUE},
    {STRS(0, "like", like, "IMAGE", "rank by similarity to an image (may be repeated)"), VALUE},
    {STR(0, "labels", labels, "FILE", "classify: one label per line, or the rows of an .npy"), VALUE},
    {STR(0, "templates", templates, "FILE", "sentences around a label, in which {} is replaced by it"), VALUE},
    {FLAG(0, "recall", recall, "how often the true partner is among the best"), VALUE},
    {STR(0, "truth", truth, "TSV", "recall: which text belongs to which key"), VALUE},
    {FLAG(0, "captions", all_captions, "recall: also the list \"captions\" of KEY.json"), VALUE},

    {GROUP("What to show")},
    {SIZE('k', "top", k, "N", 1, 1e9, "best matches per query (default: 10), labels per image (default: 1)"), VALUE},
    {FORM(0, "min", min, min_form, "S", "only scores or probabilities of S or more; status 1 if there are none"),
     VALUE},
    {STR(0, "sheet", sheet, "FILE.png", "draw the best matches on a contact sheet"), NOW},
    {STRS(0, "images", images, "INPUT", "with --sheet: where the images of an .npy are (may be repeated)"), NOW},
    {ALIAS("pictures", "images")},
    {END}};

static const cli_program prog = {
    .name = "clip-rank",
    .synopsis =
        "[OPTION]... --query TEXT... CORPUS...\n[OPTION]... --labels FILE CORPUS...\n[OPTION]... --recall PAIRS...\n"
        "[OPTION]... --recall --queries T.npy I.npy",
    .about = "Ranks images by text or image, classifies them without training, measures\n"
             "recall. CORPUS is an .npy of embeddings, or images, folders, tars and lists,\n"
             "which are embedded on the fly.",
    .options = own,
    .common = CLI_MODEL | CLI_ARCH | CLI_LOOK | CLI_FILES | CLI_SOURCES | CLI_IMAGES | CLI_TEXTS | CLI_ONE_TABLE |
              CLI_ERRORS | CLI_THREADS | CLI_BATCH,
    .examples = "  clip-rank --query 'a red bus' photos/\n"
                "  clip-embed photos/ -o photos.npy\n"
                "  clip-rank --queries wanted.txt --sheet best.png photos.npy\n"
                "  clip-rank --labels labels.txt --templates templates.txt photos.npy\n",
    .model = "clip-emoji-6m",
};

/* Words where a file is expected are a common mistake. */
static void check_file(const char *option, const char *path, const char *instead)
{
    if (path && strcmp(path, "-") != 0 && access(path, F_OK) && errno == ENOENT)
        cli_usage(&prog, "--%s: '%s' is not a file: expected one with a text on each line%s", option, path, instead);
}

/* Options that do not go together. */
static void check_options(const rank_options *o, const cli_common *c)
{
    int find = o->query.n > 0 || o->like.n > 0 || (o->queries && !o->recall);
    int asked = find + (o->labels != NULL) + o->recall;
    if (asked == 0)
        cli_usage(&prog, "nothing to do: give --query, --labels or --recall");
    if (asked > 1)
        cli_usage(&prog, "--query, --labels and --recall exclude one another");
    if (o->templates && (!o->labels || texts_is_npy(o->labels)))
        cli_usage(&prog, "--templates needs --labels with texts");
    if (o->truth && !(o->recall && o->queries))
        cli_usage(&prog, "--truth needs --recall with --queries");
    if (o->all_captions && (!o->recall || o->queries))
        cli_usage(&prog, "--captions needs --recall with pairs");
    if (o->recall && (o->sheet || o->min.set || o->k))
        cli_usage(&prog, "--recall does not go with --sheet, --min or -k");
    if (o->images.n > 0 && !o->sheet)
        cli_usage(&prog, "--images needs --sheet");
    if (o->recall && o->queries && (c->operands != 1 || !texts_is_npy(c->operand[0]) || c->files_from))
        cli_usage(&prog, "--recall --queries needs one .npy with the vectors of the images");
    for (size_t i = 0; o->recall && !o->queries && i < c->operands; i++)
        if (texts_is_npy(c->operand[i]))
            cli_usage(&prog, "--recall of %s needs --queries with the vectors of the texts", c->operand[i]);
    if (cli_output_is_dir(c))
        cli_usage(&prog, "the result is one file: use -o FILE");
    check_file("labels", o->labels, ", as printf '%s\\n' cat dog > labels.txt writes it");
    check_file("queries", o->queries, "; for a text itself: --query TEXT");
    check_file("templates", o->templates, ", such as: a photo of a {}");
}

/* A contact sheet reads its images again. */
static void check_sheet(const rank_options *o, const cli_common *c)
{
    int again = c->operands > 0 || c->files_from;
    if (!o->sheet)
        return;
    for (size_t i = 0; i < c->operands; i++)
        again &= strcmp(c->operand[i], "-") != 0;
    if (!again || (c->files_from && strcmp(c->files_from, "-") == 0))
        cli_usage(&prog, "--sheet reads its images again, which standard input does not allow");
}

static int run_job(rank_job *j, rank_writer *w, vlk_err *err)
{
    if (rank_job_open(j, err))
        return -1;
    if (j->o->labels)
        return rank_label(j, w, err);
    return j->o->recall ? rank_recall(j, w, err) : rank_find(j, w, err);
}

/* --info and --explain. */
static int show(const cli_common *c, vlk_err *err)
{
    engine e = {0};
    vlk_buf text = {0};
    int rc = -1;
    if (engine_open(&e, c, ENGINE_IMAGES | ENGINE_TEXTS | ENGINE_ANY, err))
        return -1;
    if (c->info ? engine_info(&e, &text, err) : engine_explain(&e, c, &text, err))
        goto out;
    cli_write(text.data, text.len);
    rc = 0;
out:
    vlk_buf_clear(&text);
    engine_close(&e);
    return rc;
}

/* --query TEXT...; frees args. Returns the last text that may be a mistyped name, or NULL. */
static const char *take_texts(rank_options *o, cli_common *c, char **args)
{
    vlk_err err = {0};
    const char *doubt = NULL;
    size_t before = c->operands;
    if (rank_more_texts(o, c, args, &doubt, &err))
        cli_usage(&prog, "%s", err.msg);
    if (before > 0 && c->operands == 0 && !c->files_from)
        cli_usage(&prog, doubt ? "nothing to rank: all operands are taken as texts, none is a file (a query of several "
                                 "words is one argument: --query 'WORD WORD')"
                               : "nothing to rank: all operands are taken as texts, none is a file");
    free(args);
    return doubt;
}

static int finish(cli_run *run, rank_options *o)
{
    free(o->query.s);
    free(o->like.s);
    free(o->images.s);
    return cli_run_end(run);
}

int main(int argc, char **argv)
{
    rank_options o = {0};
    cli_common c;
    vlk_err err = {0};
    char **args = cli_copy_args(&prog, argc, argv);
    cli_parse(&prog, &o, &c, argc, argv);
    const char *doubt = take_texts(&o, &c, args);
    if (c.info || c.explain) {
        cli_run *run = cli_run_open(&prog, &c);
        if (show(&c, &err))
            cli_fail(run, NULL, "%s", err.msg);
        return finish(run, &o);
    }
    check_options(&o, &c);
    check_sheet(&o, &c);
    cli_format form = cli_output_format(&prog, &c, 1u << CLI_TSV | 1u << CLI_JSONL, CLI_TSV);
    cli_need_input(&prog, &c);
    cli_run *run = cli_run_open(&prog, &c);
    if (doubt)
        cli_note(run,
                 "'%s' is not a file: it is taken as a text (a query of several words is one argument: "
                 "--query 'WORD WORD')",
                 doubt);
    rank_job j = {.prog = &prog, .c = &c, .o = &o, .run = run};
    rank_writer w = {0};
    if (rank_writer_open(&w, &c, form, &err)) {
        cli_fail(run, NULL, "%s", err.msg);
        return finish(run, &o);
    }
    int failed = run_job(&j, &w, &err);
    if (failed && err.code != VLK_ESTOPPED) /* a signal has a status of its own */
        cli_fail(run, NULL, "%s", err.msg);
    rank_job_close(&j);
    int whole = !failed && cli_run_whole(run);
    if (whole ? rank_writer_commit(&w, &err) : rank_writer_abort(&w, &err))
        cli_fail(run, NULL, "%s", err.msg);
    return finish(run, &o);
}
