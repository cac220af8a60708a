/* conv.c - images to rows, and convolution as products.
 *
 * Channels are columns (NHWC), so a 1x1 convolution is a linear layer. For 3x3 the window of each result is laid out as
 * a row, a fixed number of rows at a time:
 *     col[(b,oy,ox)][(ky*3 + kx)*C + c] = x[(b, oy*stride + ky - 1, ox*stride + kx - 1)][c],  0 outside
 * so that a line of the window is one piece of memory. Weights are stored as (c,ky,kx); vlk_weight_by_tap turns them.
 */
#include "ops_internal.h"

#include <string.h>

/* ---- images to rows ------------------------------------------------------------------------- */

struct patch_job {
    const vlk_images *p;
    float *y;
    size_t patch, gw, gh;
};

/* n pixels of channel c, from (b, y, x) to the right. */
static void pixels_of(const vlk_images *p, float *to, size_t b, size_t c, size_t y, size_t x, size_t n)
{
    if (p->f32) {
        memcpy(to, p->f32 + ((b * 3 + c) * p->h + y) * p->w + x, n * sizeof(float));
        return;
    }
    const uint8_t *from = p->u8 + ((b * p->h + y) * p->w + x) * 3 + c;
    const float *level = p->table[c];
    for (size_t i = 0; i < n; i++)
        to[i] = level[from[i * 3]];
}

/* A task is a row of patches: i = b * gh + gy. */
static void patch_rows(void *arg, size_t from, size_t to)
{
    const struct patch_job *j = arg;
    size_t s = j->patch, cols = 3 * s * s;
    for (size_t i = from; i < to; i++)
        for (size_t gx = 0; gx < j->gw; gx++) {
            float *y = j->y + (i * j->gw + gx) * cols;
            for (size_t c = 0; c < 3; c++)
                for (size_t dy = 0; dy < s; dy++)
                    pixels_of(j->p, y + (c * s + dy) * s, i / j->gh, c, i % j->gh * s + dy, gx * s, s);
        }
}

vlk_var *vlk_patches(vlk_tape *t, const vlk_images *p, size_t patch)
{
    if (patch == 0 || p->h < patch || p->w < patch || (!p->f32 && (!p->u8 || !p->table)))
        return vlk_tape_fail(t, VLK_EUSAGE, "patches of %zu of images of %zux%zu", patch, p->w, p->h);
    size_t gh = p->h / patch, gw = p->w / patch;
    vlk_var *y = vlk_var_new(t, p->b * gh * gw, 3 * patch * patch);
    if (y)
        vlk_for_ranges(t, patch_rows, &(struct patch_job){p, y->data, patch, gw, gh}, p->b * gh, 1);
    return y;
}

/* A task is a line of an image. */
static void pixel_lines(void *arg, size_t from, size_t to)
{
    const struct patch_job *j = arg;
    const vlk_images *p = j->p;
    for (size_t i = from; i < to; i++)
        for (size_t x = 0; x < p->w; x++)
            for (size_t c = 0; c < 3; c++)
                pixels_of(p, j->y + (i * p->w + x) * 3 + c, i / p->h, c, i % p->h, x, 1);
}

vlk_var *vlk_pixel_rows(vlk_tape *t, const vlk_images *p)
{
    if (!p->f32 && (!p->u8 || !p->table))
        return vlk_tape_fail(t, VLK_EUSAGE, "no pixels");
    vlk_var *y = vlk_var_new(t, p->b * p->h * p->w, 3);
    if (y)
        vlk_for_ranges(t, pixel_lines, &(struct patch_job){p, y->data, 0, 0, 0}, p->b * p->h, 16);
    return y;
}

/* ---- convolution ------------------------------------------------------------------------------ */

struct conv_saved {
    vlk_grid in, out;
    size_t size, stride;
};

struct col_job {
    const float *x;
    float *col;
    size_t first, c; /* the first row of this piece; channels */
    const struct conv_saved *s;
};

static void window(const struct col_job *j, float *col, size_t row)
{
    const struct conv_saved *s = j->s;
    const size_t n = s->size, pad = n / 2, c = j->c;
    const size_t ox = row % s->out.w, oy = row / s->out.w % s->out.h, b = row / (s->out.w * s->out.h);
    const size_t x0 = ox * s->stride, before = x0 < pad ? pad - x0 : 0; /* taps left of the image */
    const size_t end = s->in.w + pad - x0 < n ? s->in.w + pad - x0 : n; /* the first tap right of it */
    for (size_t ky = 0; ky < n; ky++, col += n * c) {
        const size_t y = oy * s->stride + ky - pad; /* wraps below 0: then >= h */
        if (y >= s->in.h) {
            memset(col, 0, n * c * sizeof *col);
            continue;
        }
        const float *from = j->x + ((b * s->in.h + y) * s->in.w + x0 + before - pad) * c;
        memset(col, 0, before * c * sizeof *col);
        memcpy(col + before * c, from, (end - before) * c * sizeof *col);
        memset(col + end * c, 0, (n - end) * c * sizeof *col);
    }
}

static void windows(void *arg, size_t from, size_t to)
{
    const struct col_job *j = arg;
    size_t k = j->c * j->s->size * j->s->size;
    for (size_t i = from; i < to; i++)
        window(j, j->col + i * k, j->first + i);
}

/* Rows of a piece: about 4 MB of windows, whatever the number of images. */
static size_t piece_rows(size_t k)
{
    size_t n = ((size_t)1 << 20) / k;
    return n < 64 ? 64 : n;
}

static int convolve(vlk_tape *t, vlk_var *y, const vlk_var *x, const struct conv_saved *s, vlk_param *w)
{
    size_t k = w->w.k, rows = y->rows, piece = piece_rows(k);
    vlk_mark m = vlk_tape_mark(t);
    if (s->size == 1 && s->stride == 1)
        return vlk_gemm(vlk_tape_kernel(t), y->data, x->data, rows, &w->w, NULL, vlk_tape_err(t));
    vlk_weight *by_tap = vlk_weight_by_tap(vlk_tape_kernel(t), &w->w, s->size * s->size, 1, vlk_tape_err(t));
    float *col = by_tap ? vlk_tape_alloc(t, (rows < piece ? rows : piece) * k, sizeof *col) : NULL;
    if (!col)
        return -1;
    struct col_job j = {x->data, col, 0, x->cols, s};
    for (j.first = 0; j.first < rows; j.first += piece) {
        size_t n = rows - j.first < piece ? rows - j.first : piece;
        vlk_for_ranges(t, windows, &j, n, 32);
        if (vlk_gemm(vlk_tape_kernel(t), y->data + j.first * y->cols, col, n, by_tap, NULL, vlk_tape_err(t)) != 0)
            return -1;
    }
    if (!vlk_tape_recording(t)) /* no backward pass: what stays is as large as after a plain product */
        vlk_weight_keep_packed(by_tap);
    vlk_tape_rewind(t, m);
    return 0;
}

/* Adds the windows' gradients to the pixels they came from; a task is some channels, all rows of the piece in order:
 *     dx[(b, oy*stride + ky - 1, ox*stride + kx - 1)][c] += dcol[(b,oy,ox)][(ky*3 + kx)*C + c] */
struct uncol_job {
    float *dx;
    const float *dcol;
    size_t first, rows, c;
    const struct conv_saved *s;
};

enum { LANES = 16 }; /* channels per task: a constant, so that the compiler makes vectors of the loop */

static void add_lanes(float *restrict to, const float *restrict from, size_t n)
{
    if (n == LANES)
        for (size_t i = 0; i < LANES; i++)
            to[i] += from[i];
    else
        for (size_t i = 0; i < n; i++)
            to[i] += from[i];
}

static void uncol_channels(void *arg, size_t from, size_t to)
{
    const struct uncol_job *j = arg;
    const struct conv_saved *s = j->s;
    const size_t n = s->size, pad = n / 2, k = j->c * n * n;
    for (size_t i = 0; i < j->rows; i++) {
        const size_t row = j->first + i, ox = row % s->out.w, oy = row / s->out.w % s->out.h,
                     b = row / (s->out.w * s->out.h);
        for (size_t ky = 0; ky < n; ky++)
            for (size_t kx = 0; kx < n; kx++) {
                size_t y = oy * s->stride + ky - pad, x = ox * s->stride + kx - pad;
                if (y >= s->in.h || x >= s->in.w)
                    continue;
                add_lanes(j->dx + ((b * s->in.h + y) * s->in.w + x) * j->c + from,
                          j->dcol + i * k + (ky * n + kx) * j->c + from, to - from);
            }
    }
}

/* dw (N,K), stored as (c,taps), += by_tap, as (taps,c). */
static void add_by_tap(float *dw, const float *by_tap, size_t n, size_t c, size_t taps)
{
    for (size_t r = 0; r < n; r++, dw += c * taps, by_tap += c * taps)
        for (size_t i = 0; i < c; i++)
            for (size_t tap = 0; tap < taps; tap++)
                dw[i * taps + tap] += by_tap[tap * c + i];
}

/* dW += dy^T col and dcol = dy W, a piece of rows at a time. */
static int pieces_back(vlk_tape *t, const vlk_node *n, const struct conv_saved *s, float *dx)
{
    vlk_kernel *kn = vlk_tape_kernel(t);
    vlk_param *w = n->par[0];
    const vlk_var *x = n->in[0], *y = n->out;
    const size_t k = w->w.k, piece = piece_rows(k), most = y->rows < piece ? y->rows : piece, taps = s->size * s->size;
    vlk_weight *by_tap = dx ? vlk_weight_by_tap(kn, &w->w, taps, 0, vlk_tape_err(t)) : &w->w;
    float *col = vlk_tape_alloc(t, most * k, sizeof *col), *dw = NULL;
    if (!col || !by_tap || (w->grad && !(dw = vlk_tape_alloc(t, y->cols * k, sizeof *dw))))
        return -1;
    if (dw)
        memset(dw, 0, y->cols * k * sizeof *dw);
    struct col_job j = {x->data, col, 0, x->cols, s};
    for (j.first = 0; j.first < y->rows; j.first += piece) {
        const size_t rows = y->rows - j.first < piece ? y->rows - j.first : piece;
        const float *dy = y->grad + j.first * y->cols;
        if (dw) {
            vlk_for_ranges(t, windows, &j, rows, 32);
            if (vlk_gemm_tn(kn, dw, dy, col, rows, y->cols, k, vlk_tape_err(t)) != 0)
                return -1;
        }
        if (!dx)
            continue;
        if (vlk_gemm_nn(kn, col, dy, rows, by_tap, 0, vlk_tape_err(t)) != 0)
            return -1;
        vlk_for_ranges(t, uncol_channels, &(struct uncol_job){dx, col, j.first, rows, x->cols, s}, x->cols, LANES);
    }
    if (dw)
        add_by_tap(w->grad, dw, y->cols, x->cols, taps);
    return 0;
}

static void conv2d_back(vlk_tape *t, const vlk_node *n)
{
    const struct conv_saved *s = n->saved;
    vlk_param *w = n->par[0];
    vlk_var *x = n->in[0];
    const vlk_var *y = n->out;
    int add = 0, rc = 0;
    if (s->size == 1 && s->stride == 1) { /* a linear layer */
        float *dx = vlk_grad_room(t, x, &add);
        if (w->grad)
            rc = vlk_gemm_tn(vlk_tape_kernel(t), w->grad, y->grad, x->data, y->rows, y->cols, x->cols, vlk_tape_err(t));
        if (rc == 0 && dx)
            rc = vlk_gemm_nn(vlk_tape_kernel(t), dx, y->grad, y->rows, &w->w, add, vlk_tape_err(t));
    } else {
        vlk_mark m = vlk_tape_mark(t);
        rc = pieces_back(t, n, s, vlk_grad_zeroed(t, x));
        vlk_tape_reset(t, m);
    }
    if (rc != 0)
        vlk_tape_broken(t);
}
static const vlk_op op_conv2d = {"conv2d", conv2d_back};

vlk_var *vlk_conv2d(vlk_tape *t, vlk_var *x, vlk_grid *g, vlk_param *w, size_t size, size_t stride)
{
    if (!x)
        return NULL;
    if (!vlk_param_given(w) || w->w.k != x->cols * size * size || x->rows != g->b * g->h * g->w || stride == 0)
        return vlk_tape_fail(t, VLK_EUSAGE, "convolution %zux%zu: %zu channels in %zu rows", size, size, x->cols,
                             x->rows);
    struct conv_saved s = {.in = *g, .size = size, .stride = stride};
    s.out = (vlk_grid){g->b, (g->h - 1) / stride + 1, (g->w - 1) / stride + 1};
    vlk_var *y = vlk_var_new(t, s.out.b * s.out.h * s.out.w, w->w.n);
    if (!y)
        return NULL;
    if (y->rows && convolve(t, y, x, &s, w) != 0)
        return vlk_tape_broken(t);
    vlk_node n = {&op_conv2d, y, {x}, {w}, NULL};
    if (vlk_tape_wants(t, &n)) {
        struct conv_saved *saved = vlk_tape_alloc(t, 1, sizeof *saved);
        if (!saved)
            return NULL;
        *saved = s;
        n.saved = saved;
    }
    *g = s.out;
    vlk_tape_push(t, &n);
    return y;
}
