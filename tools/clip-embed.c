/* clip-embed.c - images and texts to vectors of CLIP: its command line. What it does is in embed.h. */
#include "cli/table.h"
#include "embed/embed.h"

#include <string.h>
#include <unistd.h>

#define OPTIONS_OF embed_options

static const cli_option options[] = {
    {GROUP("What to do")},
    {FLAG(0, "image", image, "embed images (the default)"), VALUE},
    {FLAG(0, "text", text, "embed texts, one per line"), VALUE},
    {FLAG(0, "pairs", pairs, "the cosine of each image and its text"), VALUE},
    {FLAG(0, "tokens", tokens, "print the token ids of texts, one text per line"), VALUE},
    {FLAG(0, "pixels", pixels, "images as the model sees them, u8"), VALUE},
    {FLAG(0, "captions", captions, "with --pairs: also the list \"captions\" of KEY.json"), VALUE},
    {FLAG(0, "raw", raw, "vectors without l2-normalisation"), VALUE},
    {FLAG(0, "half", half, "npy rows as half floats (<f2)"), VALUE},
    {FLAG(0, "replace", replace, "tar: replace members that already have our names"), NOW},
    {END}};

static const cli_program program = {
    .name = "clip-embed",
    .synopsis = "[OPTION]... [INPUT]...\n--text [OPTION]... [FILE]...\n--pairs [OPTION]... [INPUT]...\n"
                "--tokens [OPTION]... [FILE]...\n--pixels [OPTION]... [INPUT]... -o FILE.npy",
    .about = "Embeds images and texts with a CLIP model. INPUT is an image, a folder, a tar,\n"
             "a list (.tsv .csv .jsonl .json), or - : a tar, an image or a list of names on\n"
             "standard input. Without INPUT, standard input.",
    .options = options,
    .common = CLI_MODEL | CLI_ARCH | CLI_LOOK | CLI_FILES | CLI_SOURCES | CLI_IMAGES | CLI_TEXTS | CLI_OUTPUT |
              CLI_ERRORS | CLI_THREADS | CLI_BATCH,
    .examples = "  clip-embed photos/ -o photos.npy              vectors, keys, provenance\n"
                "  find . -name '*.jpg' -print0 | clip-embed -0  names from a pipe, TSV to stdout\n"
                "  clip-embed shard.tar -o shard-embedded.tar    all members kept, vectors added\n"
                "  clip-embed --text labels.txt -o labels.npy\n"
                "  clip-embed big/*.tar -o out/ --rows 100000    parts; a rerun resumes\n",
    .model = "clip-emoji-6m",
};

static embed_mode choose_mode(const embed_options *o)
{
    int n = o->image + o->text + o->pairs + o->tokens + o->pixels;
    if (n > 1)
        cli_usage(&program, "only one of --image, --text, --pairs, --tokens and --pixels");
    return o->text     ? EMBED_TEXTS
           : o->pairs  ? EMBED_PAIRS
           : o->tokens ? EMBED_TOKENS
           : o->pixels ? EMBED_PIXELS
                       : EMBED_IMAGES;
}

static cli_format choose_format(const cli_common *c, embed_mode mode)
{
    static const unsigned allowed[] = {
        [EMBED_IMAGES] = 1 << CLI_NPY | 1 << CLI_TSV | 1 << CLI_JSONL | 1 << CLI_TAR,
        [EMBED_TEXTS] = 1 << CLI_NPY | 1 << CLI_TSV | 1 << CLI_JSONL,
        [EMBED_PAIRS] = 1 << CLI_TSV | 1 << CLI_JSONL | 1 << CLI_TAR,
        [EMBED_TOKENS] = 1 << CLI_TSV | 1 << CLI_JSONL,
        [EMBED_PIXELS] = 1 << CLI_NPY,
    };
    int dir = cli_output_is_dir(c), standard = !c->output || strcmp(c->output, "-") == 0;
    cli_format fallback = mode == EMBED_PIXELS || (dir && allowed[mode] & 1 << CLI_NPY) ? CLI_NPY : CLI_TSV;
    cli_format f = cli_output_format(&program, c, allowed[mode], fallback);
    if (f == CLI_NPY && standard)
        cli_usage(&program, "npy needs a file that can be rewound: use -o FILE.npy");
    if (f == CLI_TAR && standard && isatty(STDOUT_FILENO))
        cli_usage(&program, "a tar is not written to a terminal");
    return f;
}

static void check_options(const cli_common *c, const embed_options *o, embed_mode mode, cli_format f)
{
    if (c->rows && !cli_output_is_dir(c))
        cli_usage(&program, "--rows goes with -o DIR (an existing folder, or a name that ends in /)");
    if (o->half && f != CLI_NPY && f != CLI_TAR)
        cli_usage(&program, "--half goes with npy and tar");
    if (o->half && mode == EMBED_PIXELS)
        cli_usage(&program, "--half does not go with --pixels");
    if (o->captions && mode != EMBED_PAIRS)
        cli_usage(&program, "--captions goes with --pairs");
    if (o->replace && f != CLI_TAR)
        cli_usage(&program, "--replace goes with tar");
}

/* Texts where files are expected are a common mistake; that there is no such file is reported when its turn comes. */
static void hint_at_texts(cli_run *run, const cli_common *c, embed_mode mode)
{
    const char *option = mode == EMBED_TEXTS ? "text" : "tokens";
    for (size_t i = 0; i < c->operands && (mode == EMBED_TEXTS || mode == EMBED_TOKENS); i++) {
        const char *s = c->operand[i];
        int text = strchr(s, ' ') || !(strchr(s, '/') || strchr(s, '.'));
        if (text && strcmp(s, "-") != 0 && access(s, F_OK))
            cli_note(run, "--%s reads files with one text per line; for a text itself: echo '%s' | clip-embed --%s",
                     option, s, option);
    }
}

/* --info and --explain. */
static int show(embed_job *j, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = j->c->explain ? engine_explain(&j->e, j->c, &b, err) : engine_info(&j->e, &b, err);
    if (rc == 0)
        cli_write(b.data, b.len);
    vlk_buf_clear(&b);
    return rc;
}

static int work(embed_job *j, vlk_err *err)
{
    int look = j->c->info || j->c->explain, rc = 0;
    if (engine_open(&j->e, j->c, look ? ENGINE_IMAGES | ENGINE_TEXTS | ENGINE_ANY : embed_wants(j->mode), err))
        return -1;
    if (look)
        rc = show(j, err);
    else
        embed_run(j);
    return rc;
}

int main(int argc, char **argv)
{
    embed_options o = {0};
    cli_common c;
    vlk_err err = {0};
    cli_parse(&program, &o, &c, argc, argv);
    embed_job job = {.prog = &program, .c = &c, .o = &o, .mode = choose_mode(&o)};
    if (!c.info && !c.explain) {
        job.format = choose_format(&c, job.mode);
        check_options(&c, &o, job.mode, job.format);
        cli_need_input(&program, &c);
    }
    job.run = cli_run_open(&program, &c);
    hint_at_texts(job.run, &c, job.mode);
    if (work(&job, &err))
        cli_fail(job.run, NULL, "%s", err.msg);
    int status = cli_run_end(job.run);
    engine_close(&job.e);
    return status;
}
