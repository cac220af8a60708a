/* value.c - one option's value: from the command line, to JSON and back. See option.h. */
#include "cli_internal.h"

#include <string.h>
#include <unistd.h>

/* ---- words ------------------------------------------------------------------------------------- */

const char *cli_word_of(const cli_word *words, int value)
{
    for (; words->word; words++)
        if (words->value == value)
            return words->word;
    return NULL;
}

int cli_word_value(const cli_word *words, const char *word, int *value)
{
    for (; words->word; words++)
        if (strcmp(words->word, word) == 0) {
            *value = words->value;
            return 0;
        }
    return -1;
}

int cli_join_words(vlk_buf *out, const cli_word *words, const char *between, vlk_err *err)
{
    for (const cli_word *w = words; w->word; w++)
        if (vlk_buf_addf(out, err, "%s%s", w == words ? "" : between, w->word))
            return -1;
    return 0;
}

int cli_metavar(const cli_option *o, vlk_buf *out, vlk_err *err)
{
    if (o->metavar)
        return vlk_buf_adds(out, o->metavar, err);
    return o->kind == CLI_WORD ? cli_join_words(out, o->words, "|", err) : vlk_buf_adds(out, "", err);
}

/* ---- from the command line ---------------------------------------------------------------------- */

int cli_strs_add(cli_strs *l, const char *s, vlk_err *err)
{
    if (vlk_grow(&l->s, &l->cap, l->n + 1, sizeof *l->s, err))
        return -1;
    l->s[l->n++] = s;
    return 0;
}

static int set_str(const cli_option *o, const char **value, const char *arg, vlk_err *err)
{
    if (!*arg) /* most likely a script's variable that was never set */
        return vlk_fail(err, VLK_EUSAGE, "the %s is empty", o->metavar);
    *value = arg;
    return 0;
}

static int set_size(const cli_option *o, size_t *value, const char *arg, vlk_err *err)
{
    uint64_t v = 0, min = (uint64_t)o->min, max = o->max > 0 ? (uint64_t)o->max : SIZE_MAX >> 1;
    if (vlk_parse_u64(arg, min, max, &v) == 0) {
        *value = (size_t)v;
        return 0;
    }
    if (o->max > 0)
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not a whole number from %ju to %ju", arg, (uintmax_t)min,
                        (uintmax_t)max);
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not a whole number of %ju or more", arg, (uintmax_t)min);
}

static int set_num(const cli_option *o, double *value, const char *arg, vlk_err *err)
{
    double v = 0;
    if (vlk_parse_f64(arg, o->min, o->max, &v))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not a number from %g to %g", arg, o->min, o->max);
    *value = v;
    return 0;
}

static int set_word(const cli_option *o, int *value, const char *arg, vlk_err *err)
{
    vlk_buf words = {0};
    if (cli_word_value(o->words, arg, value) == 0)
        return 0;
    if (cli_join_words(&words, o->words, ", ", err) == 0)
        vlk_fail(err, VLK_EUSAGE, "'%s' is not one of %s", arg, words.data);
    vlk_buf_clear(&words);
    return -1;
}

void *cli_value_of(const cli_option *o, void *own, cli_common *common)
{
    return (char *)(o->bit ? (void *)common : own) + o->offset;
}

int cli_set(const cli_option *o, void *own, cli_common *common, const char *arg, vlk_err *err)
{
    void *value = cli_value_of(o, own, common);
    switch (o->kind) {
    case CLI_FLAG:
        *(int *)value = 1;
        return 0;
    case CLI_STR:
        return set_str(o, value, arg, err);
    case CLI_STRS:
        return cli_strs_add(value, arg, err);
    case CLI_SIZE:
        return set_size(o, value, arg, err);
    case CLI_NUM:
        if (arg)
            return set_num(o, value, arg, err);
        *(int *)((char *)value - o->offset + o->alone_offset) = 1;
        return 0;
    case CLI_WORD:
        return set_word(o, value, arg, err);
    case CLI_FORM:
        return o->form->parse(value, arg, err);
    case CLI_END:
    case CLI_GROUP:
    case CLI_RECORD:
    case CLI_ALIAS:
        break;
    }
    return vlk_fail(err, VLK_EUSAGE, "is not an option of the command line");
}

/* ---- to JSON --------------------------------------------------------------------------------------- */

static int put_num(vlk_buf *out, double x, vlk_err *err)
{
    char s[VLK_F64_TEXT];
    return vlk_buf_adds(out, vlk_f64_text(x, s), err);
}

static int put_str(vlk_buf *out, const char *s, vlk_err *err)
{
    return s ? vlk_json_quote(out, s, strlen(s), err) : vlk_buf_adds(out, "null", err);
}

/* Each part of A::B that is relative gets the working folder in front; braces stay as they are. */
static int make_absolute(vlk_buf *out, const char *s, vlk_err *err)
{
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd))
        return vlk_fail_errno(err, "the working folder");
    while (s) {
        const char *end = strstr(s, "::");
        size_t n = end ? (size_t)(end - s) : strlen(s);
        if ((n > 0 && s[0] != '/' && vlk_buf_addf(out, err, "%s/", cwd)) || vlk_buf_add(out, s, n, err) ||
            (end && vlk_buf_adds(out, "::", err)))
            return -1;
        s = end ? end + 2 : NULL;
    }
    return 0;
}

static int put_place(vlk_buf *out, const char *s, vlk_err *err)
{
    vlk_buf path = {0};
    int rc = make_absolute(&path, s, err);
    if (rc == 0)
        rc = vlk_json_quote(out, path.data ? path.data : "", path.len, err);
    vlk_buf_clear(&path);
    return rc;
}

static int put_strs(vlk_buf *out, const cli_strs *l, int (*put)(vlk_buf *, const char *, vlk_err *), vlk_err *err)
{
    if (vlk_buf_adds(out, "[", err))
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if ((i > 0 && vlk_buf_adds(out, ", ", err)) || put(out, l->s[i], err))
            return -1;
    return vlk_buf_adds(out, "]", err);
}

int cli_put_json(const cli_option *o, const void *value, vlk_buf *out, vlk_err *err)
{
    const char *s;
    switch (o->kind) {
    case CLI_FLAG:
        return vlk_buf_adds(out, *(const int *)value ? "true" : "false", err);
    case CLI_STR:
        s = *(const char *const *)value;
        return s && o->role == CLI_PLACE && access(s, F_OK) == 0 ? put_place(out, s, err) : put_str(out, s, err);
    case CLI_STRS:
        return put_strs(out, value, o->role == CLI_PLACE ? put_place : put_str, err);
    case CLI_SIZE:
        return vlk_buf_addf(out, err, "%zu", *(const size_t *)value);
    case CLI_NUM:
        return put_num(out, *(const double *)value, err);
    case CLI_WORD:
        return put_str(out, cli_word_of(o->words, *(const int *)value), err);
    case CLI_FORM:
    case CLI_RECORD:
        return o->form->put(value, out, err);
    case CLI_END:
    case CLI_GROUP:
    case CLI_ALIAS:
        break;
    }
    return vlk_fail(err, VLK_EUSAGE, "this row of the option table has no value");
}

/* ---- from JSON -------------------------------------------------------------------------------------- */

static int get_size(const vlk_json *j, size_t *value, const char *name, vlk_err *err)
{
    int64_t v = 0;
    if (vlk_json_int(j, 0, INT64_MAX / 2, &v, name, err))
        return -1;
    *value = (size_t)v;
    return 0;
}

static int get_word(const vlk_json *j, const cli_option *o, int *value, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    if (s && cli_word_value(o->words, s, value) == 0)
        return 0;
    return vlk_fail(err, VLK_EFORMAT, "\"%s\": %s is not one of the known words", o->name, s ? s : "what it holds");
}

static int get_str(const vlk_json *j, const char **value, const char *name, vlk_err *err)
{
    *value = vlk_json_str(j, NULL);
    if (*value || vlk_json_type(j) == VLK_JSON_NULL)
        return 0;
    return vlk_fail(err, VLK_EFORMAT, "\"%s\": expected a string or null", name);
}

static int get_strs(const vlk_json *j, cli_strs *l, const char *name, vlk_err *err)
{
    *l = (cli_strs){0};
    if (vlk_json_type(j) != VLK_JSON_ARRAY)
        return vlk_fail(err, VLK_EFORMAT, "\"%s\": expected a list of strings", name);
    for (size_t i = 0; i < vlk_json_len(j); i++) {
        const char *s = vlk_json_str(vlk_json_at(j, i), NULL);
        if (!s)
            return vlk_fail(err, VLK_EFORMAT, "\"%s\": expected strings", name);
        if (cli_strs_add(l, s, err))
            return -1;
    }
    return 0;
}

int cli_get_json(const cli_option *o, void *value, const vlk_json *j, vlk_err *err)
{
    switch (o->kind) {
    case CLI_FLAG:
        return vlk_json_bool(j, value, o->name, err);
    case CLI_STR:
        return get_str(j, value, o->name, err);
    case CLI_STRS:
        return get_strs(j, value, o->name, err);
    case CLI_SIZE:
        return get_size(j, value, o->name, err);
    case CLI_NUM:
        return vlk_json_num(j, value, o->name, err);
    case CLI_WORD:
        return get_word(j, o, value, err);
    case CLI_FORM:
    case CLI_RECORD:
        return o->form->get(value, j, o->name, err);
    case CLI_END:
    case CLI_GROUP:
    case CLI_ALIAS:
        break;
    }
    return vlk_fail(err, VLK_EUSAGE, "this row of the option table has no value");
}
