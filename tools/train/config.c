/* config.c - run.json: every option that belongs to the run, and what the run is based on.
 *
 *   {"vlkit": "0.1.0", "program": "itc-train", "total_steps": 1600,
 *    "steps": 1600, "epochs": 0, "minutes": 0,                              LENGTH
 *    "samples": 38531, "index": "<sha256>", "model_id": "<id>",
 *    "model": "/…", ..., "train": ["/…"], "val": [...],                     PLACE
 *    "labels": "<sha256>"|null,
 *    "batch": 256, ...                                                      VALUE
 *    "val-steps": 50,                                                       SCORE
 *    "keep": 2, ...}                                                        FREE
 *
 * The options are the rows of the program's table (options.c) with these roles, in the order of the table. Places may
 * change when a run continues, as long as data and model are the same; so may FREE options. */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_recorded(const cli_option *o)
{
    return o->role >= CLI_VALUE && o->role <= CLI_PLACE && (o->kind != CLI_FORM || o->form->put);
}

/* The next row with this role that run.json has; NULL after the last one. */
static const cli_option *next_with_role(cli_walk *w, cli_role role)
{
    const cli_option *row;
    while ((row = cli_walk_next(w)) && (row->role != role || !is_recorded(row)))
        continue;
    return row;
}

static const void *value_in(const train_options *o, const cli_option *row)
{
    return (const char *)(row->bit ? (const void *)&o->common : o) + row->offset;
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* All rows of a role: separator, then "name": value, each. */
static int put_role(vlk_buf *out, const train_options *o, cli_role role, const char *separator, vlk_err *err)
{
    cli_walk w = {.prog = &train_program};
    for (const cli_option *row; (row = next_with_role(&w, role));)
        if (vlk_buf_addf(out, err, "%s\"%s\": ", separator, row->name) || cli_put_json(row, value_in(o, row), out, err))
            return -1;
    return 0;
}

static int put_optional(vlk_buf *out, const char *name, const char *s, vlk_err *err)
{
    if (*s)
        return vlk_buf_addf(out, err, ",\n  \"%s\": \"%s\"", name, s);
    return vlk_buf_addf(out, err, ",\n  \"%s\": null", name);
}

int train_config_write(vlk_buf *out, const train_options *o, const train_facts *f, vlk_err *err)
{
    static const char next[] = ",\n  ";
    char total[32] = "null";
    if (f->steps)
        snprintf(total, sizeof total, "%ju", (uintmax_t)f->steps);
    if (vlk_buf_addf(out, err, "{\n  \"vlkit\": \"%s\",\n  \"program\": \"%s\",\n  \"total_steps\": %s", VLK_VERSION,
                     train_program.name, total) ||
        put_role(out, o, CLI_LENGTH, next, err) ||
        vlk_buf_addf(out, err, ",\n  \"samples\": %zu,\n  \"index\": \"%s\",\n  \"model_id\": \"%s\"", f->samples,
                     f->index, f->model_id) ||
        put_role(out, o, CLI_PLACE, next, err) || put_optional(out, "labels", f->labels, err) ||
        put_role(out, o, CLI_VALUE, next, err) || put_role(out, o, CLI_SCORE, next, err) ||
        put_role(out, o, CLI_FREE, next, err))
        return -1;
    return vlk_buf_adds(out, "\n}\n", err);
}

int train_config_arguments(vlk_buf *out, const train_options *o, vlk_err *err)
{
    vlk_buf members = {0};
    int rc = put_role(&members, o, CLI_VALUE, ", ", err);
    if (rc == 0) /* without the first separator */
        rc = vlk_buf_addf(out, err, "{%s}", members.data + 2);
    vlk_buf_clear(&members);
    return rc;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static int get_facts(train_facts *f, const vlk_json *j, vlk_err *err)
{
    const vlk_json *total = vlk_json_get(j, "total_steps");
    const char *index = vlk_json_str(vlk_json_get(j, "index"), NULL),
               *id = vlk_json_str(vlk_json_get(j, "model_id"), NULL),
               *labels = vlk_json_str(vlk_json_get(j, "labels"), NULL);
    int64_t samples = 0, steps = 0;
    *f = (train_facts){0};
    if (!index || strlen(index) >= sizeof f->index || !id || strlen(id) >= sizeof f->model_id)
        return vlk_fail(err, VLK_EFORMAT, "\"index\" or \"model_id\" is missing or too long");
    if (labels && strlen(labels) >= sizeof f->labels)
        return vlk_fail(err, VLK_EFORMAT, "\"labels\" is too long");
    snprintf(f->labels, sizeof f->labels, "%s", labels ? labels : "");
    snprintf(f->index, sizeof f->index, "%s", index);
    snprintf(f->model_id, sizeof f->model_id, "%s", id);
    if (vlk_json_int(vlk_json_get(j, "samples"), 0, INT64_MAX / 2, &samples, "samples", err))
        return -1;
    if (vlk_json_type(total) != VLK_JSON_NULL && vlk_json_int(total, 0, INT64_MAX / 2, &steps, "total_steps", err))
        return -1;
    f->samples = (size_t)samples;
    f->steps = (uint64_t)steps;
    return 0;
}

static int is_known(const char *name)
{
    static const char *const facts[] = {"vlkit", "program", "total_steps", "samples", "index", "model_id", "labels"};
    cli_walk w = {.prog = &train_program};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (strcmp(name, facts[i]) == 0)
            return 1;
    for (const cli_option *row; (row = cli_walk_next(&w));)
        if (is_recorded(row) && strcmp(name, row->name) == 0)
            return 1;
    return 0;
}

/* An option of a later version may mean that the run goes on differently. */
static int check_names(const vlk_json *j, vlk_err *err)
{
    const char *name;
    const vlk_json *value;
    for (const void *it = NULL; (it = vlk_json_next(j, it, &name, &value));)
        if (!is_known(name))
            return vlk_fail(err, VLK_EFORMAT, "\"%s\" is no option of a run of this version (%s)", name, VLK_VERSION);
    return 0;
}

int train_config_read(train_options *o, train_facts *f, const vlk_json *j, const char *path, vlk_err *err)
{
    const char *program = vlk_json_str(vlk_json_get(j, "program"), NULL);
    cli_walk w = {.prog = &train_program};
    train_options_default(o);
    if (!program || strcmp(program, train_program.name) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: is not a run of %s", path, train_program.name);
    if (get_facts(f, j, err) || check_names(j, err))
        return vlk_err_prefix(err, "%s", path);
    for (const cli_option *row; (row = cli_walk_next(&w));) {
        const vlk_json *value = is_recorded(row) ? vlk_json_get(j, row->name) : NULL;
        if (value && cli_get_json(row, cli_value_of(row, o, &o->common), value, err))
            return vlk_err_prefix(err, "%s", path);
    }
    return 0;
}

int train_config_same_place(const char *was, const char *is)
{
    char cwd[4096];
    if (!was || !is)
        return was == is;
    if (strcmp(was, is) == 0)
        return 1;
    if (is[0] == '/' || !getcwd(cwd, sizeof cwd))
        return 0;
    size_t n = strlen(cwd);
    return strncmp(was, cwd, n) == 0 && was[n] == '/' && strcmp(was + n + 1, is) == 0;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

static int same_value(const cli_option *row, const train_options *was, const train_options *is, const char *path,
                      vlk_err *err)
{
    vlk_buf a = {0}, b = {0};
    int rc = -1;
    if (cli_put_json(row, value_in(was, row), &a, err) || cli_put_json(row, value_in(is, row), &b, err))
        goto out;
    rc = 0;
    if (strcmp(a.data, b.data) != 0)
        rc = vlk_fail(err, VLK_EUSAGE, "%s: --%s was %s when the run began, and is %s now", path, row->name, a.data,
                      b.data);
out:
    vlk_buf_clear(&a);
    vlk_buf_clear(&b);
    return rc;
}

static int same_role(cli_role role, const train_options *was, const train_options *is, const char *path, vlk_err *err)
{
    cli_walk w = {.prog = &train_program};
    for (const cli_option *row; (row = next_with_role(&w, role));)
        if (same_value(row, was, is, path, err))
            return -1;
    return 0;
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
    if (same_role(CLI_VALUE, was, is, path, err) || same_role(CLI_SCORE, was, is, path, err))
        return -1;
    if (was->val.n != is->val.n)
        return vlk_fail(err, VLK_EUSAGE, "%s: there were %zu sets of --val when the run began, and are %zu now", path,
                        was->val.n, is->val.n);
    if (strcmp(fwas->labels, fis->labels) != 0)
        return vlk_fail(err, VLK_EUSAGE,
                        "%s: --val-labels or --val-templates are not what they were when the run began", path);
    if (same_length(was, fwas->steps, is, path, err))
        return -1;
    if (strcmp(fwas->index, fis->index) != 0)
        return vlk_fail(err, VLK_EUSAGE,
                        "%s: the training data is not what the run began with: %zu samples then, %zu "
                        "now, index %.12s then, %.12s now",
                        path, fwas->samples, fis->samples, fwas->index, fis->index);
    return 0;
}
