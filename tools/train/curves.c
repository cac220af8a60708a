/* curves.c - metrics.jsonl to curves: lines with "loss" are steps, lines with "val" are validations. */
#include "curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/stream/stream.h"

void train_curve_clear(train_curve *c)
{
    free(c->x);
    free(c->y);
    *c = (train_curve){0};
}

void train_curves_clear(train_curves *c)
{
    train_curve_clear(&c->loss);
    for (size_t i = 0; i < c->sets; i++) {
        train_curve_clear(&c->set[i].i2t);
        train_curve_clear(&c->set[i].t2i);
        free(c->set[i].name);
    }
    free(c->set);
    *c = (train_curves){0};
}

static int add(train_curve *c, double x, double y, vlk_err *err)
{
    if (vlk_grow(&c->x, &c->xcap, c->n + 1, sizeof *c->x, err) ||
        vlk_grow(&c->y, &c->ycap, c->n + 1, sizeof *c->y, err))
        return -1;
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return 0;
}

static train_recall *set_of(train_curves *c, const char *name, vlk_err *err)
{
    for (size_t i = 0; i < c->sets; i++)
        if (strcmp(c->set[i].name, name) == 0)
            return &c->set[i];
    if (vlk_grow(&c->set, &c->cap, c->sets + 1, sizeof *c->set, err))
        return NULL;
    train_recall *r = &c->set[c->sets];
    *r = (train_recall){0};
    if (!(r->name = vlk_strndup(name, strlen(name), err)))
        return NULL;
    c->sets++;
    return r;
}

static int add_line(train_curves *c, const vlk_json *j, vlk_err *err)
{
    double step, y, z;
    const char *val = vlk_json_str(vlk_json_get(j, "val"), NULL);
    if (vlk_json_num(vlk_json_get(j, "step"), &step, "step", err))
        return -1;
    if (vlk_json_get(j, "loss"))
        return vlk_json_num(vlk_json_get(j, "loss"), &y, "loss", err) || add(&c->loss, step, y, err) ? -1 : 0;
    if (!val || !vlk_json_get(j, "i2t_R@1")) /* a set without captions has no recall */
        return 0;
    train_recall *r = set_of(c, val, err);
    if (!r || vlk_json_num(vlk_json_get(j, "i2t_R@1"), &y, "i2t_R@1", err) ||
        vlk_json_num(vlk_json_get(j, "t2i_R@1"), &z, "t2i_R@1", err))
        return -1;
    return add(&r->i2t, step, 100 * y, err) || add(&r->t2i, step, 100 * z, err) ? -1 : 0;
}

int train_curves_read(train_curves *c, const char *run, vlk_err *err)
{
    vlk_map m = {0};
    int rc = -1;
    size_t line = 0;
    char *path = vlk_path_join(run, "metrics.jsonl", err);
    *c = (train_curves){.name = run};
    if (!path || vlk_map_open(&m, path, err)) {
        free(path);
        return -1;
    }
    for (size_t at = 0; at < m.size;) {
        const char *s = (const char *)m.data + at, *end = memchr(s, '\n', m.size - at);
        if (!end)
            break;
        line++;
        vlk_json *j = vlk_json_parse(s, (size_t)(end - s), path, err);
        int bad = !j || add_line(c, j, err);
        vlk_json_free(j);
        if (bad) {
            vlk_err_prefix(err, "%s: line %zu", path, line);
            goto out;
        }
        at += (size_t)(end - s) + 1;
    }
    rc = c->loss.n > 0 ? 0 : vlk_fail(err, VLK_EFORMAT, "%s: holds no step yet", path);
out:
    vlk_map_close(&m);
    free(path);
    if (rc)
        train_curves_clear(c);
    return rc;
}

void train_curve_thin(train_curve *c, size_t points)
{
    size_t group = points ? (c->n + points - 1) / points : 1, to = 0;
    for (size_t from = 0; group > 1 && from < c->n; from += group, to++) {
        size_t n = c->n - from < group ? c->n - from : group;
        double x = 0, y = 0;
        for (size_t i = 0; i < n; i++) {
            x += c->x[from + i];
            y += c->y[from + i];
        }
        c->x[to] = x / (double)n;
        c->y[to] = y / (double)n;
    }
    c->n = group > 1 ? to : c->n;
}

int train_curve_smooth(train_curve *out, const train_curve *c, double points, vlk_err *err)
{
    double mean = 0, weight = 0, keep = points > 1 ? 1 - 1 / points : 0;
    *out = (train_curve){0};
    for (size_t i = 0; i < c->n; i++) { /* corrected for its start, so that the first point is the first value */
        mean = keep * mean + (1 - keep) * c->y[i];
        weight = keep * weight + (1 - keep);
        if (add(out, c->x[i], mean / weight, err))
            return -1;
    }
    return 0;
}

double train_tick(double max, int want)
{
    double raw = max / want, power = raw > 0 ? pow(10, floor(log10(raw))) : 1, m = raw / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}
