/* option.h - the table of a program's options, and what is read from it.
 *
 * A program has one table: its own rows (offsets into its own struct), followed by those of the common options that it
 * names (offsets into cli_common). The table drives getopt_long, --help, --print-options (for lint, the check of the
 * manual pages and the completions) and, for a program that keeps its options in a file, writing, reading and comparing
 * them. Rows are written with the constructors of table.h:
 *
 *   #define OPTIONS_OF rank_options
 *   static const cli_option own[] = {
 *       {GROUP("What to show")},
 *       {SIZE('k', "top", k, "N", 1, 1e9, "best matches per query (default: 10)"), VALUE},
 *       {END}}; */
#ifndef VLK_CLI_OPTION_H
#define VLK_CLI_OPTION_H

#include <stddef.h>

#include "../../lib/base/base.h"
#include "../../lib/stream/stream.h"

typedef enum cli_kind {
    CLI_END,    /* the last row */
    CLI_GROUP,  /* a heading in --help: `help` */
    CLI_FLAG,   /* int: set to 1 */
    CLI_STR,    /* const char *; the argument may not be empty */
    CLI_STRS,   /* cli_strs: may be given several times */
    CLI_SIZE,   /* size_t in [min, max]; max = 0: no limit */
    CLI_NUM,    /* double in [min, max] */
    CLI_WORD,   /* an enum: one of `words` */
    CLI_FORM,   /* anything else: `form` reads and writes it */
    CLI_RECORD, /* not on the command line: a value that another row sets, recorded under this name */
    CLI_ALIAS   /* another name, not shown anywhere, of the row that `help` names */
} cli_kind;

/* What an option changes. Programs that keep their options in a file (run.json) record those from CLI_VALUE to
 * CLI_PLACE; only those that change neither values nor scores may differ when the file is used again. */
typedef enum cli_role {
    CLI_NO_ROLE,
    CLI_VALUE,  /* the numbers that come out */
    CLI_SCORE,  /* what is measured, not the numbers */
    CLI_FREE,   /* neither, but it belongs to the run: what is kept, how much memory may be used */
    CLI_LENGTH, /* when the run ends */
    CLI_PLACE,  /* where something lies: recorded as an absolute path */
    CLI_NOW     /* this invocation only: what to do, threads, messages */
} cli_role;

typedef struct cli_strs {
    const char **s;
    size_t n, cap;
} cli_strs;

int cli_strs_add(cli_strs *l, const char *s, vlk_err *err) VLK_MUST_USE;

/* A list of words and their values; the last one has word NULL. */
typedef struct cli_word {
    const char *word;
    int value;
} cli_word;

/* The word of a value, NULL if there is none. */
const char *cli_word_of(const cli_word *words, int value);
/* The value of a word to *value; 0, or -1 if it is none of them (*value is unchanged). */
int cli_word_value(const cli_word *words, const char *word, int *value) VLK_MUST_USE;

extern const cli_word cli_dtype_words[]; /* vlk_dtype: arithmetic of the linear layers */
extern const cli_word cli_alpha_words[]; /* vlk_alpha */

/* How a CLI_FORM is read from the command line, written as JSON, and read from JSON. put and get may be NULL where the
 * row is never recorded, parse for a CLI_RECORD. */
typedef struct cli_form {
    int (*parse)(void *value, const char *arg, vlk_err *err);
    int (*put)(const void *value, vlk_buf *out, vlk_err *err);
    int (*get)(void *value, const vlk_json *j, const char *name, vlk_err *err);
} cli_form;

typedef struct cli_option {
    cli_kind kind;
    char letter; /* 0: none */
    const char *name;
    size_t offset;       /* of the value in the struct */
    const char *metavar; /* NULL: none, or made from the words */
    const char *help;
    double min, max;
    const cli_word *words;
    const cli_form *form;
    cli_role role;
    int may_stand_alone; /* CLI_NUM: the number may be missing; then the int at alone_offset is set to 1 */
    size_t alone_offset;
    unsigned bit; /* common options: the bit of cli_program.common; 0: the program's own */
} cli_option;

struct cli_program;
struct cli_common;

/* Goes through all rows of a program but groups, in the order of --help: own rows, then common ones.
 *
 *   cli_walk w = {.prog = p};
 *   for (const cli_option *o; (o = cli_walk_next(&w));) */
typedef struct cli_walk {
    const struct cli_program *prog;
    const cli_option *at; /* the present row; NULL before the first one */
    const char *group;    /* heading of the present row; NULL: none yet */
    int common;           /* at is a row of the common options */
} cli_walk;

const cli_option *cli_walk_next(cli_walk *w);
/* Where the value of an option lies. */
void *cli_value_of(const cli_option *o, void *own, struct cli_common *common);

/* "f32|bf16", "N", or "" for a flag, appended to out. */
int cli_metavar(const cli_option *o, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* The argument of the command line to the value (flags, and numbers that may stand alone: NULL). -1 with what is wrong
 * with it, without the option's name. */
int cli_set(const cli_option *o, void *own, struct cli_common *common, const char *arg, vlk_err *err) VLK_MUST_USE;
/* Appends the value as JSON. Paths (CLI_PLACE) become absolute: CLI_STR if there is such a file (a model may be a
 * name), CLI_STRS always. */
int cli_put_json(const cli_option *o, const void *value, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Reads what cli_put_json wrote; strings point into j. Ranges are not checked: defaults may lie outside. */
int cli_get_json(const cli_option *o, void *value, const vlk_json *j, vlk_err *err) VLK_MUST_USE;

#endif
