/* forms.c - options whose values are not a number, word or path: --augment, --betas, --lock. Each is parsed from the
 * command line, put into run.json, and got from there again. */
#include "job.h"

#include <string.h>

static int parse_augment(void *value, const char *arg, vlk_err *err)
{
    return vlk_augment_parse(value, arg, err);
}

static int put_augment(const void *value, vlk_buf *out, vlk_err *err)
{
    char text[64];
    const char *s = vlk_augment_text(value, text, sizeof text);
    return vlk_json_quote(out, s, strlen(s), err);
}

static int get_augment(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    const char *s = vlk_json_str(j, NULL);
    if (!s)
        return vlk_fail(err, VLK_EFORMAT, "\"%s\": expected a string", name);
    return vlk_augment_parse(value, s, err) ? vlk_err_prefix(err, "\"%s\"", name) : 0;
}

static int parse_betas(void *value, const char *arg, vlk_err *err)
{
    double *beta = value;
    char first[64];
    const char *second = cli_split(arg, ',', first, sizeof first);
    if (second && vlk_parse_f64(first, 0, 1, &beta[0]) == 0 && vlk_parse_f64(second, 0, 1, &beta[1]) == 0 &&
        beta[0] < 1 && beta[1] < 1)
        return 0;
    return vlk_fail(err, VLK_EUSAGE, "'%s' is not B1,B2 with both in [0, 1)", arg);
}

static int put_betas(const void *value, vlk_buf *out, vlk_err *err)
{
    const double *beta = value;
    char a[VLK_F64_TEXT], b[VLK_F64_TEXT];
    return vlk_buf_addf(out, err, "[%s, %s]", vlk_f64_text(beta[0], a), vlk_f64_text(beta[1], b));
}

static int get_betas(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    double *beta = value;
    if (vlk_json_num(vlk_json_at(j, 0), &beta[0], name, err))
        return -1;
    return vlk_json_num(vlk_json_at(j, 1), &beta[1], name, err);
}

/* image, image:N, text, text:N; may be given for both. */
static int parse_locks(void *value, const char *arg, vlk_err *err)
{
    train_locks *locks = value;
    const char *colon = strchr(arg, ':');
    size_t n = colon ? (size_t)(colon - arg) : strlen(arg);
    uint64_t open = 0;
    train_lock *l = n == 5 && memcmp(arg, "image", 5) == 0  ? &locks->image
                    : n == 4 && memcmp(arg, "text", 4) == 0 ? &locks->text
                                                            : NULL;
    if (!l || (colon && vlk_parse_u64(colon + 1, 0, 1000, &open)))
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not one of image, text, image:N, text:N", arg);
    *l = (train_lock){.given = 1, .open = (size_t)open};
    return 0;
}

/* null: not locked; else the number of groups that stay open. */
static int put_lock(const void *value, vlk_buf *out, vlk_err *err)
{
    const train_lock *l = value;
    return l->given ? vlk_buf_addf(out, err, "%zu", l->open) : vlk_buf_adds(out, "null", err);
}

static int get_lock(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    train_lock *l = value;
    int64_t open = 0;
    l->given = vlk_json_type(j) != VLK_JSON_NULL;
    if (l->given && vlk_json_int(j, 0, INT64_MAX / 2, &open, name, err))
        return -1;
    l->open = (size_t)open;
    return 0;
}

const cli_form train_augment_form = {.parse = parse_augment, .put = put_augment, .get = get_augment};
const cli_form train_betas_form = {.parse = parse_betas, .put = put_betas, .get = get_betas};
const cli_form train_locks_form = {.parse = parse_locks}; /* recorded as lock-image and lock-text */
const cli_form train_lock_form = {.put = put_lock, .get = get_lock};
