/* train_config.c - run.json: every option that matters, and what the run stands on.
 *
 *   {"vlkit": "0.1.0", "program": "itc-train",
 *    "total_steps": 1600, "samples": 38531, "index": "<sha256>", "model_id": "<id>", "labels": "<sha256>"|null,
 *    "model": "/…" | "config": "/…", "train": ["/…"], "val": [...],        places: where things lie
 *    "batch": 256, ...                                                     options that change values
 *    "keep": 2, ...}                                                       those that do not
 *
 * Places may change when a run goes on, as long as index and model are the same; so may options that change no value.
 * One table drives writing, reading and comparing. */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum kind { K_SIZE, K_NUM, K_FLAG, K_WORD, K_STR, K_AUGMENT, K_BETAS, K_LOCK } kind;
typedef enum role {
    VALUE, /* changes weights */
    SCORE, /* changes what is measured, not the weights */
    FREE   /* changes nothing */
} role;

typedef struct field {
    const char *name;
    kind kind;
    role role;
    size_t offset;
    const char *const *words;
} field;

static const char *const loss_words[] = {"clip", "siglip", NULL};
static const char *const schedule_words[] = {"cosine", "constant", NULL};
static const char *const init_words[] = {"hf", "openai", NULL};
static const char *const dtype_words[] = {"f32", "bf16", NULL};
static const char *const alpha_words[] = {"auto", "drop", "white", "black", NULL};

#define AT(f) offsetof(train_options, f)
static const field fields[] = {
    {"seed", K_SIZE, VALUE, AT(seed), NULL},
    {"init", K_WORD, VALUE, AT(init), init_words},
    {"image-size", K_SIZE, VALUE, AT(image_size), NULL},
    {"train-weights", K_STR, VALUE, AT(train_weights), NULL},
    {"epoch-samples", K_SIZE, VALUE, AT(epoch_samples), NULL},
    {"captions", K_FLAG, VALUE, AT(captions), NULL},
    {"hard-negatives", K_SIZE, VALUE, AT(negatives), NULL},
    {"augment", K_AUGMENT, VALUE, AT(augment), NULL},
    {"window", K_SIZE, VALUE, AT(window), NULL},
    {"loss", K_WORD, VALUE, AT(loss), loss_words},
    {"batch", K_SIZE, VALUE, AT(batch), NULL},
    {"chunk", K_SIZE, VALUE, AT(chunk), NULL},
    {"lr", K_NUM, VALUE, AT(lr), NULL},
    {"lr-image", K_NUM, VALUE, AT(lr_image), NULL},
    {"lr-text", K_NUM, VALUE, AT(lr_text), NULL},
    {"warmup", K_SIZE, VALUE, AT(warmup), NULL},
    {"schedule", K_WORD, VALUE, AT(schedule), schedule_words},
    {"betas", K_BETAS, VALUE, AT(beta), NULL},
    {"eps", K_NUM, VALUE, AT(eps), NULL},
    {"wd", K_NUM, VALUE, AT(wd), NULL},
    {"clip-grad", K_NUM, VALUE, AT(clip_grad), NULL},
    {"ema", K_NUM, VALUE, AT(ema), NULL},
    {"lock-image", K_LOCK, VALUE, AT(lock_image), NULL},
    {"lock-text", K_LOCK, VALUE, AT(lock_text), NULL},
    {"patch-dropout", K_NUM, VALUE, AT(patch_dropout), NULL},
    {"dtype", K_WORD, VALUE, AT(dtype), dtype_words},
    {"no-exif", K_FLAG, VALUE, AT(no_exif), NULL},
    {"alpha", K_WORD, VALUE, AT(alpha), alpha_words},
    {"max-pixels", K_SIZE, VALUE, AT(max_pixels), NULL},
    {"val-steps", K_SIZE, SCORE, AT(val_steps), NULL},
    {"max-loss", K_NUM, FREE, AT(max_loss), NULL},
    {"save-steps", K_SIZE, FREE, AT(save_steps), NULL},
    {"save-minutes", K_NUM, FREE, AT(save_minutes), NULL},
    {"keep", K_SIZE, FREE, AT(keep), NULL},
    {"cache-mb", K_SIZE, FREE, AT(cache_mb), NULL},
    {"checkpoint-blocks", K_FLAG, FREE, AT(checkpoint_blocks), NULL},
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* ---- writing ------------------------------------------------------------------------------------ */

static int put_number(vlk_buf *out, double x, vlk_err *err)
{
    char s[VLK_F64_TEXT];
    return vlk_buf_adds(out, vlk_f64_text(x, s), err);
}

static int put_string(vlk_buf *out, const char *s, vlk_err *err)
{
    return s ? vlk_json_quote(out, s, strlen(s), err) : vlk_buf_adds(out, "null", err);
}

static int put_value(vlk_buf *out, const field *f, const train_options *o, vlk_err *err)
{
    const void *at = (const char *)o + f->offset;
    char text[64];
    switch (f->kind) {
    case K_SIZE:
        return vlk_buf_addf(out, err, "%zu", *(const size_t *)at);
    case K_NUM:
        return put_number(out, *(const double *)at, err);
    case K_FLAG:
        return vlk_buf_adds(out, *(const int *)at ? "true" : "false", err);
    case K_WORD:
        return put_string(out, f->words[*(const int *)at], err);
    case K_STR:
        return put_string(out, *(const char *const *)at, err);
    case K_AUGMENT:
        return put_string(out, vlk_augment_text(at, text, sizeof text), err);
    case K_BETAS:
        if (vlk_buf_adds(out, "[", err) || put_number(out, ((const double *)at)[0], err) ||
            vlk_buf_adds(out, ", ", err) || put_number(out, ((const double *)at)[1], err))
            return -1;
        return vlk_buf_adds(out, "]", err);
    case K_LOCK: /* null: not locked; else the groups that stay open */
        return ((const train_lock *)at)->given ? vlk_buf_addf(out, err, "%zu", ((const train_lock *)at)->open)
                                               : vlk_buf_adds(out, "null", err);
    }
    return -1;
}

/* A path from where we are, with A::B and braces as they are: made to begin at the root. */
static int put_place(vlk_buf *out, const char *s, const char *cwd, vlk_err *err)
{
    vlk_buf b = {0};
    int rc = 0;
    while (rc == 0 && s) {
        const char *end = strstr(s, "::");
        size_t n = end ? (size_t)(end - s) : strlen(s);
        rc = (n > 0 && s[0] != '/' && vlk_buf_addf(&b, err, "%s/", cwd)) || vlk_buf_add(&b, s, n, err) ||
             (end && vlk_buf_adds(&b, "::", err));
        s = end ? end + 2 : NULL;
    }
    rc = rc || vlk_json_quote(out, b.data ? b.data : "", b.len, err);
    vlk_buf_clear(&b);
    return rc ? -1 : 0;
}

static int put_places(vlk_buf *out, const char *name, const cli_strs *l, const char *cwd, vlk_err *err)
{
    if (vlk_buf_addf(out, err, "  \"%s\": [", name))
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if ((i > 0 && vlk_buf_adds(out, ", ", err)) || put_place(out, l->s[i], cwd, err))
            return -1;
    return vlk_buf_adds(out, "],\n", err);
}

/* A model may be a name, which has no place. */
static int put_one(vlk_buf *out, const char *name, const char *s, const char *cwd, vlk_err *err)
{
    if (vlk_buf_addf(out, err, "  \"%s\": ", name))
        return -1;
    int rc = s && access(s, F_OK) == 0 ? put_place(out, s, cwd, err) : put_string(out, s, err);
    return rc || vlk_buf_adds(out, ",\n", err) ? -1 : 0;
}

int train_config_write(vlk_buf *out, const train_options *o, const train_facts *f, vlk_err *err)
{
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd))
        return vlk_fail_errno(err, "the working folder");
    if (vlk_buf_addf(out, err, "{\n  \"vlkit\": \"%s\",\n  \"program\": \"itc-train\",\n", VLK_VERSION) ||
        (f->steps ? vlk_buf_addf(out, err, "  \"total_steps\": %ju,\n", (uintmax_t)f->steps)
                  : vlk_buf_adds(out, "  \"total_steps\": null,\n", err)) ||
        vlk_buf_addf(out, err, "  \"steps\": %zu,\n  \"epochs\": %zu,\n  \"minutes\": ", o->steps, o->epochs) ||
        put_number(out, o->minutes, err) ||
        vlk_buf_addf(out, err, ",\n  \"samples\": %zu,\n  \"index\": \"%s\",\n  \"model_id\": \"%s\",\n", f->samples,
                     f->index, f->model_id) ||
        put_one(out, "model", o->model, cwd, err) || put_one(out, "arch", o->arch, cwd, err) ||
        put_one(out, "config", o->config, cwd, err) || put_one(out, "tokenizer", o->tokenizer, cwd, err) ||
        put_places(out, "train", &o->train, cwd, err) || put_places(out, "val", &o->val, cwd, err) ||
        put_one(out, "val-labels", o->val_labels, cwd, err) ||
        put_one(out, "val-templates", o->val_templates, cwd, err) || vlk_buf_adds(out, "  \"labels\": ", err) ||
        put_string(out, f->labels[0] ? f->labels : NULL, err) || vlk_buf_adds(out, ",\n", err))
        return -1;
    for (size_t i = 0; i < FIELDS; i++)
        if (vlk_buf_addf(out, err, "  \"%s\": ", fields[i].name) || put_value(out, &fields[i], o, err) ||
            vlk_buf_adds(out, i + 1 < FIELDS ? ",\n" : "\n}\n", err))
            return -1;
    return 0;
}

int train_config_arguments(vlk_buf *out, const train_options *o, vlk_err *err)
{
    const char *sep = "{";
    for (size_t i = 0; i < FIELDS; i++) {
        if (fields[i].role != VALUE)
            continue;
        if (vlk_buf_addf(out, err, "%s\"%s\": ", sep, fields[i].name) || put_value(out, &fields[i], o, err))
            return -1;
        sep = ", ";
    }
    return vlk_buf_adds(out, "}", err);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static int get_size(const vlk_json *j, size_t *to, const char *name, vlk_err *err)
{
    int64_t v = 0;
    if (vlk_json_int(j, 0, INT64_MAX / 2, &v, name, err))
        return -1;
    *to = (size_t)v;
    return 0;
}

static int get_word(const vlk_json *j, const char *const *words, int *to, const char *name, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    for (int i = 0; s && words[i]; i++)
        if (strcmp(s, words[i]) == 0) {
            *to = i;
            return 0;
        }
    return vlk_fail(err, VLK_EFORMAT, "\"%s\": %s is none of the known words", name, s ? s : "(no string)");
}

static int get_value(const vlk_json *j, const field *f, train_options *o, vlk_err *err)
{
    void *at = (char *)o + f->offset;
    const char *s = vlk_json_str(j, NULL);
    train_lock *lock = at;
    switch (f->kind) {
    case K_SIZE:
        return get_size(j, at, f->name, err);
    case K_NUM:
        return vlk_json_num(j, at, f->name, err);
    case K_FLAG:
        return vlk_json_bool(j, at, f->name, err);
    case K_WORD:
        return get_word(j, f->words, at, f->name, err);
    case K_STR:
        *(const char **)at = s;
        return 0;
    case K_AUGMENT:
        return vlk_augment_parse(at, s ? s : "", err);
    case K_BETAS:
        return vlk_json_num(vlk_json_at(j, 0), at, f->name, err) ||
                       vlk_json_num(vlk_json_at(j, 1), (double *)at + 1, f->name, err)
                   ? -1
                   : 0;
    case K_LOCK:
        lock->given = vlk_json_type(j) != VLK_JSON_NULL;
        return lock->given ? get_size(j, &lock->open, f->name, err) : 0;
    }
    return -1;
}

static int get_strings(const vlk_json *j, cli_strs *l, const char *name, vlk_err *err)
{
    *l = (cli_strs){0};
    for (size_t i = 0; i < vlk_json_len(j); i++) {
        const char *s = vlk_json_str(vlk_json_at(j, i), NULL);
        if (!s)
            return vlk_fail(err, VLK_EFORMAT, "\"%s\": expected strings", name);
        if (vlk_grow(&l->s, &l->cap, l->n + 1, sizeof *l->s, err))
            return -1;
        l->s[l->n++] = s;
    }
    return 0;
}

static int get_facts(train_facts *f, const vlk_json *j, vlk_err *err)
{
    const vlk_json *steps = vlk_json_get(j, "total_steps");
    const char *index = vlk_json_str(vlk_json_get(j, "index"), NULL),
               *id = vlk_json_str(vlk_json_get(j, "model_id"), NULL);
    size_t n = 0;
    *f = (train_facts){0};
    if (!index || strlen(index) >= sizeof f->index || !id || strlen(id) >= sizeof f->model_id)
        return vlk_fail(err, VLK_EFORMAT, "\"index\" or \"model_id\" is missing or too long");
    const char *labels = vlk_json_str(vlk_json_get(j, "labels"), NULL);
    if (labels && strlen(labels) >= sizeof f->labels)
        return vlk_fail(err, VLK_EFORMAT, "\"labels\" is too long");
    snprintf(f->labels, sizeof f->labels, "%s", labels ? labels : "");
    snprintf(f->index, sizeof f->index, "%s", index);
    snprintf(f->model_id, sizeof f->model_id, "%s", id);
    if (get_size(vlk_json_get(j, "samples"), &f->samples, "samples", err) ||
        (vlk_json_type(steps) != VLK_JSON_NULL && get_size(steps, &n, "total_steps", err)))
        return -1;
    f->steps = n;
    return 0;
}

int train_config_read(train_options *o, train_facts *f, const vlk_json *j, const char *path, vlk_err *err)
{
    const char *program = vlk_json_str(vlk_json_get(j, "program"), NULL);
    if (!program || strcmp(program, "itc-train") != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: is no run of itc-train", path);
    o->model = vlk_json_str(vlk_json_get(j, "model"), NULL);
    o->arch = vlk_json_str(vlk_json_get(j, "arch"), NULL);
    o->config = vlk_json_str(vlk_json_get(j, "config"), NULL);
    o->tokenizer = vlk_json_str(vlk_json_get(j, "tokenizer"), NULL);
    o->val_labels = vlk_json_str(vlk_json_get(j, "val-labels"), NULL);
    o->val_templates = vlk_json_str(vlk_json_get(j, "val-templates"), NULL);
    if (get_facts(f, j, err) || get_size(vlk_json_get(j, "steps"), &o->steps, "steps", err) ||
        get_size(vlk_json_get(j, "epochs"), &o->epochs, "epochs", err) ||
        vlk_json_num(vlk_json_get(j, "minutes"), &o->minutes, "minutes", err) ||
        get_strings(vlk_json_get(j, "train"), &o->train, "train", err) ||
        get_strings(vlk_json_get(j, "val"), &o->val, "val", err))
        return vlk_err_prefix(err, "%s", path);
    for (size_t i = 0; i < FIELDS; i++)
        if (get_value(vlk_json_get(j, fields[i].name), &fields[i], o, err))
            return vlk_err_prefix(err, "%s", path);
    return 0;
}

int train_config_same_place(const char *was, const char *is)
{
    char cwd[4096];
    size_t n;
    if (!was || !is || strcmp(was, is) == 0)
        return was == is || (was && is);
    if (is[0] == '/' || !getcwd(cwd, sizeof cwd))
        return 0;
    n = strlen(cwd);
    return strncmp(was, cwd, n) == 0 && was[n] == '/' && strcmp(was + n + 1, is) == 0;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static int same_field(const field *f, const train_options *was, const train_options *is, const char *path, vlk_err *err)
{
    vlk_buf a = {0}, b = {0};
    int rc = -1;
    if (put_value(&a, f, was, err) || put_value(&b, f, is, err))
        goto out;
    rc = strcmp(a.data, b.data) == 0 ? 0
                                     : vlk_fail(err, VLK_EUSAGE, "%s: --%s was %s when the run began, and is %s now",
                                                path, f->name, a.data, b.data);
out:
    vlk_buf_clear(&a);
    vlk_buf_clear(&b);
    return rc;
}

/* A run with a constant schedule may become longer. */
static int same_length(const train_options *was, uint64_t steps, const train_options *is, const char *path,
                       vlk_err *err)
{
    if (was->steps == is->steps && was->epochs == is->epochs && was->minutes == is->minutes)
        return 0;
    if (is->steps && is->steps == steps)
        return 0;
    if (is->steps && steps && is->steps > steps && was->schedule == VLK_SCHEDULE_CONSTANT)
        return 0;
    return vlk_fail(err, VLK_EUSAGE,
                    "%s: the length of the run has changed (%ju steps before): only --steps N with a larger N may, and "
                    "only with --schedule constant",
                    path, (uintmax_t)steps);
}

int train_config_same(const train_options *was, const train_facts *fwas, const train_options *is,
                      const train_facts *fis, const char *path, vlk_err *err)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].role != FREE && same_field(&fields[i], was, is, path, err))
            return -1;
    if (was->val.n != is->val.n)
        return vlk_fail(err, VLK_EUSAGE, "%s: there were %zu sets of --val when the run began, and are %zu now", path,
                        was->val.n, is->val.n);
    if (strcmp(fwas->labels, fis->labels) != 0)
        return vlk_fail(err, VLK_EUSAGE, "%s: --val-labels or --val-templates are not those of when the run began",
                        path);
    if (same_length(was, fwas->steps, is, path, err))
        return -1;
    if (strcmp(fwas->index, fis->index) != 0)
        return vlk_fail(err, VLK_EUSAGE,
                        "%s: the training data is not that of the run's begin: %zu samples then, %zu "
                        "now, index %.12s then, %.12s now",
                        path, fwas->samples, fis->samples, fwas->index, fis->index);
    return 0;
}
