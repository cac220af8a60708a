/* cli.h - what all programs have in common: options, help, messages, counts, exit status, standard output.
 *
 * A program has one option table (option.h, table.h) and a mask of the common options.
 *
 *   int main(int argc, char **argv)
 *   {
 *       struct opts o = {.k = 10};
 *       cli_common c;
 *       cli_parse(&prog, &o, &c, argc, argv);       // does not return on --help, --version, misuse
 *       cli_run *run = cli_run_open(&prog, &c);
 *       ... cli_item_bad(run, ...), cli_fail(run, ...) ...
 *       return cli_run_end(run);                    // closes standard output, prints the summary, returns the status
 *   } */
#ifndef VLK_CLI_H
#define VLK_CLI_H

#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "../../lib/base/base.h"
#include "../../lib/prep/prep.h"
#include "option.h"

/* ---- options ------------------------------------------------------------------------------- */

/* Which common options a program has. --help and --version are always there. */
enum {
    CLI_MODEL = 1 << 0,     /* -m --dtype */
    CLI_ARCH = 1 << 1,      /* --arch */
    CLI_LOOK = 1 << 2,      /* --info --explain */
    CLI_FILES = 1 << 3,     /* -T -0 --shard */
    CLI_IMAGES = 1 << 4,    /* --no-exif --alpha --max-pixels */
    CLI_TEXTS = 1 << 5,     /* --long-text */
    CLI_OUTPUT = 1 << 6,    /* -o --format --rows --force --allow-empty */
    CLI_ONE_TABLE = 1 << 7, /* -o --format --allow-empty, for a result that is one table */
    CLI_ERRORS = 1 << 8,    /* --errors --max-bad -q --progress */
    CLI_THREADS = 1 << 9,   /* -j */
    CLI_BATCH = 1 << 10,    /* -b */
    CLI_SOURCES = 1 << 11   /* --text-from --image-from --images-in --separator */
};

#define CLI_ARCH_HELP "config for weights that come without one"

typedef enum cli_format { CLI_AUTO, CLI_NPY, CLI_TSV, CLI_JSONL, CLI_TAR, CLI_PNG, CLI_SVG } cli_format;
typedef enum cli_progress_when { CLI_PROGRESS_AUTO, CLI_PROGRESS_ALWAYS, CLI_PROGRESS_NEVER } cli_progress_when;
typedef enum cli_long_text { CLI_LONG_TRUNCATE, CLI_LONG_ERROR } cli_long_text;
typedef struct cli_max_bad {
    int set, percent;
    double value; /* items, or percent of them */
} cli_max_bad;
typedef struct cli_shard {
    uint64_t i, n; /* n = 0: all items */
} cli_shard;

typedef struct cli_common {
    const char *model, *arch;  /* NULL: not given */
    const char *default_model; /* the program's */
    const char *output;        /* NULL or "-": standard output */
    cli_format format;         /* as asked for by --format; see cli_output_format */
    size_t rows;               /* 0: no parts */
    int force, allow_empty;
    const char *files_from;
    int null;
    cli_shard shard;
    size_t threads;  /* never 0 after cli_parse */
    size_t batch;    /* 0: the program chooses */
    vlk_dtype dtype; /* arithmetic of the linear layers: VLK_F32 or VLK_BF16 */
    const char *errors;
    cli_max_bad max_bad;
    int quiet;
    cli_progress_when progress;
    int info, explain;
    vlk_pixel_options pixels;
    cli_long_text long_text;
    const char *text_from, *image_from, *images_in; /* NULL: not given */
    char separator;                                 /* 0: as found */
    char **operand;                                 /* what is not an option; ends with NULL */
    size_t operands;
} cli_common;

typedef struct cli_program {
    const char *name;          /* "clip-embed" */
    const char *synopsis;      /* what follows the name: "[OPTION]... INPUT..." ; several lines separated by \n */
    const char *about;         /* a line or two */
    const cli_option *options; /* its own rows */
    unsigned common;           /* CLI_MODEL | ... */
    const char *examples;      /* for --help; may be NULL */
    const char *model;         /* what it runs without -m: an installed model's name */
} cli_program;

void cli_defaults(cli_common *common);
/* cli_defaults, then fills both structs from the command line. --help and --version print and exit 0; misuse prints one
 * line and "Try 'NAME --help' ...", and exits 2. Also sets up SIGINT and SIGTERM (see cli_stop). Operands are moved to
 * the end of argv. */
void cli_parse(const cli_program *p, void *own, cli_common *common, int argc, char **argv);
/* As cli_parse, over the values that both structs have: a second reading of a command line. */
void cli_parse_over(const cli_program *p, void *own, cli_common *common, int argc, char **argv);
/* The command line in its order, to be taken before cli_parse moves the operands. Free with free(). */
char **cli_copy_args(const cli_program *p, int argc, char *const *argv);
/* Misuse found later: as above. */
void cli_usage(const cli_program *p, const char *fmt, ...) VLK_PRINTF(2, 3) __attribute__((noreturn));

/* Not 0 after SIGINT or SIGTERM (its number): finish the batch, then end with cli_run_end. A second one kills. */
extern volatile sig_atomic_t cli_stop;

/* The format of the output: --format, else by the suffix of the output, else `fallback`. cli_usage on a contradiction
 * or an unknown suffix. `allowed`: bits 1 << cli_format. */
cli_format cli_output_format(const cli_program *p, const cli_common *c, unsigned allowed, cli_format fallback);
/* -o names a folder: one that exists, or a name that ends in '/'. */
int cli_output_is_dir(const cli_common *c);
/* Splits "A<sep>B": A goes to first, B is returned. NULL if there is no sep, or A has `size` bytes or more. */
const char *cli_split(const char *arg, char sep, char *first, size_t size);
/* No operand, no -T, and standard input is a terminal: cli_usage. */
void cli_need_input(const cli_program *p, const cli_common *c);

/* ---- the run: messages, counts, status ------------------------------------------------------- */

typedef struct cli_run {
    const cli_program *prog;
    const cli_common *opt;
    size_t items, good, bad; /* items = good + bad */
    size_t cut;              /* texts that were cut to the context */
    size_t done_before;      /* finished by an earlier run */
    size_t other_files;      /* in folders, not images */
    /* Images that are one colour to the model; of these, with transparency, and put on white; 16-bit grey with levels
     * that were clipped; JPEG with damage that was repaired. A note each at the end. */
    size_t flat, flat_alpha, flat_white, clipped, repaired;
    int failed;   /* a status of 2 is due */
    int no_match; /* filters: nothing matched */
    struct vlk_out *errors;
    double start;
    double last_progress;
    int progress_on, progress_shown;
    int color;
    const char *stopped; /* see cli_run_left */
    char left[1024];
} cli_run;

/* Opens --errors. Exits 2 if that fails. */
cli_run *cli_run_open(const cli_program *p, const cli_common *c);
/* Counts an item that was processed. */
void cli_item_good(cli_run *r);
/* Counts an item that failed: "NAME: key: reason" on standard error and a line {"item","stage","reason"} in --errors.
 * `key` are n bytes from outside; `stage` one word. */
void cli_item_bad(cli_run *r, const char *key, size_t n, const char *stage, const char *reason);
/* "NAME: subject: reason"; the status will be 2. For broken sources and errors that end the run. No subject: NULL,
 * "" or "-", as the path of standard input is. */
void cli_fail(cli_run *r, const char *subject, const char *fmt, ...) VLK_PRINTF(3, 4);
/* A note, not an error; nothing with -q. */
void cli_note(cli_run *r, const char *fmt, ...) VLK_PRINTF(2, 3);
/* Progress on a terminal, a few times a second. */
void cli_progress(cli_run *r);
/* 1 if the output may get its name or end mark: no broken source, no signal, not too many bad items. Reports it if
 * --max-bad is exceeded. */
int cli_run_whole(cli_run *r);
/* Summary (only if something was skipped or cut, or on a terminal), --errors committed, standard output flushed and
 * closed with all its errors seen. Returns the status: 0, 1, 2, 128 + signal. Frees r. */
int cli_run_end(cli_run *r);

/* For the summary of a run that does not end well, if it has more to say than that its -o was not written: what was
 * saved, and how to go on. `stopped`: what ended it early ("--minutes"), if that was no signal; or NULL. */
void cli_run_left(cli_run *r, const char *stopped, const char *fmt, ...) VLK_PRINTF(3, 4);

/* Writes data to standard output, for a terminal as vlk_buf_visible does. cli_run_end reports errors; a closed pipe
 * ends the program. */
void cli_write(const void *p, size_t n);

/* ---- the installation and the machine -------------------------------------------------------- */

/* The folder share/vlkit (models, tables) of this installation or build tree; NULL if there is none. Static storage. */
const char *cli_share(void);
/* VLK_GEMM (auto, dnnl, openblas) and VLK_CPU (auto, generic, avx2, avx512) into *o; -1 for other words. */
struct vlk_kernel_options;
int cli_kernel_options(struct vlk_kernel_options *o, vlk_err *err);
/* Seconds, monotonic. */
double cli_now(void);
/* Peak resident memory of this process in bytes (VmHWM). */
size_t cli_peak_memory(void);

#endif
