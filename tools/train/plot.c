/* plot.c - --plot RUN... -o FILE.svg: loss above, recall at 1 below, over steps.
 *
 * One run: a colour is a set of --val; text to image full, image to text dashed. Several runs: a colour is a run, a
 * pattern of dashes a set, and the line is the mean of both directions. Colour-blind people can distinguish the
 * colours, too (Okabe and Ito). No fonts but the viewer's; no scripts; nothing is loaded. */
#include "job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "curves.h"

enum { WIDTH = 1080, LEFT = 70, PLOT_W = 620, LEGEND_X = 715, TOP = 48, PLOT_H = 250, GAP = 92, POINTS = 600 };
static const char *const colour[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};
static const char *const dashes[] = {"", "7 4", "2 3", "10 3 2 3", "4 2 1 2"};
enum { COLOURS = sizeof colour / sizeof *colour, DASHES = sizeof dashes / sizeof *dashes };

typedef struct canvas {
    vlk_buf out;
    vlk_err *err;
    int failed;
    double x_max, y_max; /* of the current panel */
    int top;
    int legend_y;
} canvas;

static void put(canvas *c, const char *fmt, ...) VLK_PRINTF(2, 3);
static void put(canvas *c, const char *fmt, ...)
{
    char s[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s, sizeof s, fmt, ap);
    va_end(ap);
    c->failed |= vlk_buf_adds(&c->out, s, c->err) != 0;
}

/* Text from outside: what XML does not allow becomes '?'. At most the last `most` characters. */
static void put_text(canvas *c, const char *s, size_t most)
{
    size_t n = strlen(s), chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    if (chars > most)
        put(c, "…");
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = vlk_utf8_next(s + i, n - i, &cp), bad = len == 0 || cp < 32 || cp == 0xfffe || cp == 0xffff;
        if (chars <= most) {
            const char *name = cp == '<' ? "&lt;" : cp == '>' ? "&gt;" : cp == '&' ? "&amp;" : NULL;
            if (bad || name)
                put(c, "%s", bad ? "?" : name);
            else
                put(c, "%.*s", len, s + i);
        }
        chars--;
        i += len > 0 ? (size_t)len : 1;
    }
}

/* ---- a panel -------------------------------------------------------------------------------------- */

static double px(const canvas *c, double x)
{
    return LEFT + PLOT_W * (c->x_max > 0 ? x / c->x_max : 0);
}

static double py(const canvas *c, double y)
{
    double part = c->y_max > 0 ? y / c->y_max : 0;
    return c->top + PLOT_H * (1 - (part < 0 ? 0 : part > 1 ? 1 : part));
}

static void axes(canvas *c, const char *title, const char *unit)
{
    double tick = train_tick(c->y_max, 6);
    put(c, "<text x='%d' y='%d' font-weight='bold'>%s</text>\n", LEFT, c->top - 14, title);
    for (int i = 0; i * tick <= c->y_max * 1.0001; i++) {
        double y = py(c, i * tick);
        put(c, "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='#ddd'/>\n", LEFT, y, LEFT + PLOT_W, y);
        put(c, "<text x='%d' y='%.1f' text-anchor='end'>%.6g%s</text>\n", LEFT - 8, y + 5, i * tick, unit);
    }
    tick = train_tick(c->x_max, 7);
    tick = tick < 1 ? 1 : tick;
    for (int i = 0; i * tick <= c->x_max * 1.0001; i++) {
        double x = px(c, i * tick);
        put(c, "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' stroke='#444'/>\n", x, c->top + PLOT_H, x,
            c->top + PLOT_H + 5);
        put(c, "<text x='%.1f' y='%d' text-anchor='middle'>%.6g</text>\n", x, c->top + PLOT_H + 21, i * tick);
    }
    put(c, "<path d='M%d %dV%dH%d' fill='none' stroke='#444'/>\n", LEFT, c->top, c->top + PLOT_H, LEFT + PLOT_W);
    put(c, "<text x='%d' y='%d' text-anchor='middle'>step</text>\n", LEFT + PLOT_W / 2, c->top + PLOT_H + 40);
    c->legend_y = c->top + 12;
}

static void line(canvas *c, const train_curve *v, const char *ink, const char *dash, double width, double opacity,
                 int marks)
{
    put(c, "<polyline fill='none' stroke='%s' stroke-width='%.1f' stroke-opacity='%.2f' stroke-linejoin='round'", ink,
        width, opacity);
    if (*dash)
        put(c, " stroke-dasharray='%s'", dash);
    put(c, " points='");
    for (size_t i = 0; i < v->n; i++)
        put(c, "%s%.1f,%.1f", i ? " " : "", px(c, v->x[i]), py(c, v->y[i]));
    put(c, "'/>\n");
    for (size_t i = 0; marks && i < v->n; i++)
        put(c, "<circle cx='%.1f' cy='%.1f' r='2.5' fill='%s'/>\n", px(c, v->x[i]), py(c, v->y[i]), ink);
}

/* A line of the legend: a piece of the curve, its name, its last value. */
static void legend(canvas *c, const char *ink, const char *dash, const char *name, const char *more, double last,
                   const char *unit)
{
    put(c, "<line x1='%d' y1='%d' x2='%d' y2='%d' stroke='%s' stroke-width='2.5' stroke-dasharray='%s'/>\n", LEGEND_X,
        c->legend_y - 5, LEGEND_X + 28, c->legend_y - 5, ink, dash);
    put(c, "<text x='%d' y='%d'>", LEGEND_X + 36, c->legend_y);
    put_text(c, name, 32 - strlen(more) / 2);
    put(c, "%s <tspan fill='#666'>%.4g%s</tspan></text>\n", more, last, unit);
    c->legend_y += 20;
}

/* ---- the two panels ---------------------------------------------------------------------------------- */

static double last_of(const train_curve *v)
{
    return v->n ? v->y[v->n - 1] : 0;
}

static int draw_loss(canvas *c, train_curves *run, size_t n, vlk_err *err)
{
    train_curve *smooth = vlk_calloc(n, sizeof *smooth, err);
    int rc = smooth ? 0 : -1;
    c->y_max = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = train_curve_smooth(&smooth[i], &run[i].loss, (double)run[i].loss.n / 100, err);
        train_curve_thin(&run[i].loss, POINTS);
        train_curve_thin(&smooth[i], POINTS);
        for (size_t k = 0; k < run[i].loss.n; k++)
            c->y_max = fmax(c->y_max, run[i].loss.y[k]);
    }
    c->y_max = c->y_max > 0 ? c->y_max * 1.03 : 1;
    axes(c, "Loss of the training batch", "");
    for (size_t i = 0; i < n && rc == 0; i++)
        line(c, &run[i].loss, colour[i % COLOURS], "", 1, 0.3, 0);
    for (size_t i = 0; i < n && rc == 0; i++) {
        line(c, &smooth[i], colour[i % COLOURS], "", 2, 1, 0);
        legend(c, colour[i % COLOURS], "", run[i].name, "", last_of(&smooth[i]), "");
    }
    put(c, "<text x='%d' y='%d' fill='#666'>pale: as measured; full: running mean</text>\n", LEGEND_X, c->legend_y + 4);
    for (size_t i = 0; smooth && i < n; i++)
        train_curve_clear(&smooth[i]);
    free(smooth);
    return rc;
}

static void draw_set(canvas *c, train_curves *run, size_t i, size_t k, int alone)
{
    train_recall *s = &run->set[k];
    if (alone) {
        const char *ink = colour[k % COLOURS];
        line(c, &s->t2i, ink, "", 2, 1, s->t2i.n < 60);
        line(c, &s->i2t, ink, dashes[1], 2, 1, s->i2t.n < 60);
        legend(c, ink, "", s->name, ", t→i", last_of(&s->t2i), " %");
        legend(c, ink, dashes[1], s->name, ", i→t", last_of(&s->i2t), " %");
        return;
    }
    for (size_t p = 0; p < s->i2t.n; p++)
        s->i2t.y[p] = (s->i2t.y[p] + s->t2i.y[p]) / 2;
    line(c, &s->i2t, colour[i % COLOURS], dashes[k % DASHES], 2, 1, s->i2t.n < 60);
    char name[512];
    const char *slash = strrchr(run->name, '/');
    snprintf(name, sizeof name, "%s, %s", slash && slash[1] ? slash + 1 : run->name, s->name);
    legend(c, colour[i % COLOURS], dashes[k % DASHES], name, "", last_of(&s->i2t), " %");
}

static void draw_recall(canvas *c, train_curves *run, size_t n)
{
    c->y_max = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < run[i].sets; k++)
            for (size_t p = 0; p < run[i].set[k].i2t.n; p++)
                c->y_max = fmax(c->y_max, fmax(run[i].set[k].i2t.y[p], run[i].set[k].t2i.y[p]));
    c->y_max = fmin(100, c->y_max > 0 ? c->y_max * 1.08 : 100);
    axes(c, n == 1 ? "Recall at 1" : "Recall at 1, mean of both directions", " %");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < run[i].sets; k++)
            draw_set(c, &run[i], i, k, n == 1);
}

static int write_file(const char *path, const vlk_buf *b, vlk_err *err)
{
    vlk_out *o = vlk_out_open(path, err);
    if (!o)
        return -1;
    if (vlk_out_write(o, b->data, b->len, err)) {
        vlk_out_abort(o);
        return -1;
    }
    return vlk_out_commit(o, err);
}

static int draw(canvas *c, train_curves *run, size_t n, vlk_err *err)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) {
        c->x_max = fmax(c->x_max, run[i].loss.x[run[i].loss.n - 1]);
        lines += run[i].sets * (n == 1 ? 2 : 1);
    }
    int second = TOP + PLOT_H + GAP, height = second + (lines ? PLOT_H + GAP : 0),
        legends = second + 20 * (int)lines + 20;
    height = lines && legends > height ? legends : height;
    put(c,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' "
        "font-family='sans-serif' font-size='14'>\n<title>Training</title>\n<rect width='%d' height='%d' "
        "fill='white'/>\n",
        WIDTH, height, WIDTH, height, WIDTH, height);
    c->top = TOP;
    if (draw_loss(c, run, n, err))
        return -1;
    c->top = second;
    if (lines)
        draw_recall(c, run, n);
    put(c, "</svg>\n");
    return c->failed ? -1 : 0;
}

int train_plot(const train_options *o, const cli_common *c, vlk_err *err)
{
    canvas v = {.err = err};
    size_t n = 0;
    int rc = -1;
    train_curves *run = vlk_calloc(c->operands, sizeof *run, err);
    if (!run)
        return -1;
    for (; n < c->operands; n++)
        if (train_curves_read(&run[n], c->operand[n], err))
            goto out;
    rc = draw(&v, run, n, err) || write_file(o->output, &v.out, err) ? -1 : 0;
out:
    for (size_t i = 0; i < n; i++)
        train_curves_clear(&run[i]);
    free(run);
    vlk_buf_clear(&v.out);
    return rc;
}
