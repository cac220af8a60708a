/* test_block.c - the transformer block: its numbers, for every field of the config (block.h), against a plain reference
 * in double; and its bits, which do not depend on how a call gives rows, keys, images and caches, on what else is in
 * the batch, on recording, checkpoints or threads.
 *
 * Tolerance: values are of order 1, sums are over at most 64 products; the worst seen is about 1e-6 of the largest
 * value, and 4e-6 is allowed. */
#include "../block.h"
#include "../numbers.h"

/* ---- the reference: one sequence, all of its rows ---------------------------------------------------------- */

typedef struct mat { /* (rows, cols) */
    size_t rows, cols;
    double *x;
} mat;

static mat mat_new(size_t rows, size_t cols)
{
    return (mat){.rows = rows, .cols = cols, .x = calloc(rows * cols + 1, sizeof(double))};
}

static mat mat_of(const float *x, size_t rows, size_t cols)
{
    mat m = mat_new(rows, cols);
    for (size_t i = 0; i < rows * cols; i++)
        m.x[i] = x[i];
    return m;
}

static mat mat_copy(mat a)
{
    mat m = mat_new(a.rows, a.cols);
    memcpy(m.x, a.x, a.rows * a.cols * sizeof *m.x);
    return m;
}

static mat ref_norm(const vlk_block_config *c, const vlk_norm_w *w, mat a)
{
    mat y = mat_copy(a);
    for (size_t r = 0; r < a.rows; r++) {
        double mean = 0, square = 0, *row = y.x + r * a.cols;
        for (size_t j = 0; j < a.cols && c->norm == VLK_LAYER_NORM; j++)
            mean += row[j] / (double)a.cols;
        for (size_t j = 0; j < a.cols; j++)
            square += (row[j] - mean) * (row[j] - mean) / (double)a.cols;
        for (size_t j = 0; j < a.cols; j++)
            row[j] = (row[j] - mean) / sqrt(square + (double)c->eps) * w->g.f32[j] +
                     (c->norm == VLK_LAYER_NORM ? w->b.f32[j] : 0);
    }
    return y;
}

static mat ref_linear(mat a, const vlk_param *w, const vlk_param *b)
{
    mat y = mat_new(a.rows, w->w.n);
    for (size_t r = 0; r < a.rows; r++)
        for (size_t n = 0; n < y.cols; n++) {
            double s = vlk_param_given(b) ? b->f32[n] : 0;
            for (size_t k = 0; k < a.cols; k++)
                s += a.x[r * a.cols + k] * w->f32[n * a.cols + k];
            y.x[r * y.cols + n] = s;
        }
    return y;
}

static void add_to(mat to, mat a, double by)
{
    for (size_t i = 0; i < to.rows * to.cols; i++)
        to.x[i] += by * a.x[i];
}

/* b below a, or beside it. Both are used up. */
static mat stack(mat a, mat b)
{
    mat y = mat_new(a.rows + b.rows, a.cols);
    memcpy(y.x, a.x, a.rows * a.cols * sizeof *y.x);
    memcpy(y.x + a.rows * a.cols, b.x, b.rows * b.cols * sizeof *y.x);
    free(a.x), free(b.x);
    return y;
}

static mat beside(mat a, mat b)
{
    mat y = mat_new(a.rows, a.cols + b.cols);
    for (size_t r = 0; r < a.rows; r++) {
        memcpy(y.x + r * y.cols, a.x + r * a.cols, a.cols * sizeof *y.x);
        memcpy(y.x + r * y.cols + a.cols, b.x + r * b.cols, b.cols * sizeof *y.x);
    }
    free(a.x), free(b.x);
    return y;
}

/* q (rows,A) on k, v (keys,A); bias (H,rows,keys) or NULL. */
static mat ref_attention(const vlk_block_config *c, mat q, mat k, mat v, int causal, const float *bias)
{
    const size_t dim = q.cols / c->heads;
    const double scale = c->scale != 0 ? (double)c->scale : 1 / sqrt((double)dim);
    mat y = mat_new(q.rows, q.cols);
    double p[80];
    for (size_t h = 0; h < c->heads; h++)
        for (size_t r = 0; r < q.rows; r++) {
            const size_t sees = causal ? k.rows - q.rows + r + 1 : k.rows;
            double sum = 0;
            for (size_t j = 0; j < sees; j++) {
                double s = 0;
                for (size_t d = h * dim; d < (h + 1) * dim; d++)
                    s += q.x[r * q.cols + d] * k.x[j * k.cols + d];
                sum += p[j] = exp(s * scale + (bias ? bias[(h * q.rows + r) * k.rows + j] : 0));
            }
            for (size_t j = 0; j < sees; j++)
                for (size_t d = h * dim; d < (h + 1) * dim; d++)
                    y.x[r * q.cols + d] += p[j] / sum * v.x[j * v.cols + d];
        }
    return y;
}

/* W_o attention(x on states, after a prefix of keys and values) + b_o. k, v are used up. */
static mat ref_attend(const vlk_block_config *c, const vlk_attn_w *w, mat x, mat states, mat k, mat v, int causal,
                      const float *bias)
{
    mat q = ref_linear(x, &w->q_w, &w->q_b);
    k = stack(k, ref_linear(states, &w->k_w, &w->k_b));
    v = stack(v, ref_linear(states, &w->v_w, &w->v_b));
    mat a = ref_attention(c, q, k, v, causal, bias), y = ref_linear(a, &w->o_w, &w->o_b);
    free(q.x), free(k.x), free(v.x), free(a.x);
    return y;
}

static mat ref_mlp(const vlk_block_config *c, const vlk_mlp_w *w, mat x)
{
    mat h = ref_linear(x, &w->fc1_w, &w->fc1_b), gate = {0};
    if (c->gated)
        gate = ref_linear(x, &w->gate_w, NULL);
    for (size_t i = 0; i < h.rows * h.cols; i++)
        h.x[i] = c->gated ? exact_act(gate.x[i], c->act) * h.x[i] : exact_act(h.x[i], c->act);
    mat y = ref_linear(h, &w->fc2_w, &w->fc2_b);
    free(h.x), free(gate.x);
    return y;
}

static mat before(const vlk_norm_w *w, mat x)
{
    return built.c.norm_place == VLK_PRE_NORM ? ref_norm(&built.c, w, x) : mat_copy(x);
}

/* x becomes x + y, or norm(x + y). */
static void after(const vlk_norm_w *w, mat *x, mat y)
{
    add_to(*x, y, 1);
    free(y.x);
    if (built.c.norm_place == VLK_POST_NORM) {
        mat n = ref_norm(&built.c, w, *x);
        free(x->x);
        *x = n;
    }
}

static mat image_of_sequence(size_t image, size_t seq)
{
    const size_t from = image_start[image_of[seq]], n = image_start[image_of[seq] + 1] - from;
    return mat_of(built.image[image] + from * SEES, n, SEES);
}

static void ref_cross(const struct block_case *b, mat *x, size_t seq)
{
    const vlk_block_config *c = &built.c;
    const vlk_block_w *w = built.w;
    mat h = before(&w->ln_cross, *x), y = {0};
    const size_t turn = c->cross.images == VLK_CROSS_TURNS ? (b->layer - c->cross.from) / c->cross.every % 2 : 0;
    for (size_t i = 0; i < (c->cross.images == VLK_CROSS_BOTH ? 2 : 1); i++) {
        mat states = image_of_sequence(turn + i, seq);
        mat one = ref_attend(c, &w->cross[i], h, states, mat_new(0, INNER), mat_new(0, INNER), 0, NULL);
        y = i ? beside(y, one) : one;
        free(states.x);
    }
    if (c->cross.images == VLK_CROSS_BOTH) {
        mat both = y;
        if (b->layer >= c->cross.merge_from) {
            y = ref_linear(both, &w->merge_w, &w->merge_b);
        } else {
            y = mat_new(x->rows, WIDTH);
            for (size_t r = 0; r < x->rows; r++)
                for (size_t j = 0; j < WIDTH; j++)
                    y.x[r * WIDTH + j] = (both.x[2 * r * WIDTH + j] + both.x[(2 * r + 1) * WIDTH + j]) / 2;
        }
        free(both.x);
    }
    free(h.x);
    after(&w->ln_cross, x, y);
}

static void ref_feed_forward(const vlk_norm_w *ln, const vlk_mlp_w *w, mat *x)
{
    mat h = before(ln, *x);
    after(ln, x, ref_mlp(&built.c, w, h));
    free(h.x);
}

/* The block on sequence `seq`. */
static mat reference(const struct block_case *b, size_t seq)
{
    const vlk_block_w *w = built.w;
    const size_t from = built.s.start[seq], rows = built.s.start[seq + 1] - from, p = prefix_of[seq];
    mat x = mat_of(built.x + from * WIDTH, rows, WIDTH), k = mat_new(0, INNER), v = mat_new(0, INNER);
    if (b->prefix) {
        const size_t at = prefix_start[p] * INNER, n = prefix_start[p + 1] - prefix_start[p];
        k = stack(k, mat_of(built.k + at, n, INNER));
        v = stack(v, mat_of(built.v + at, n, INNER));
    }
    mat h = before(&w->ln1, x);
    after(&w->ln1, &x,
          ref_attend(&built.c, &w->self, h, h, k, v, built.c.causal || b->causal,
                     built.bias ? built.bias + bias_place(b, seq) : NULL));
    free(h.x);
    if (!b->queries) {
        if (case_looks(b))
            ref_cross(b, &x, seq);
        ref_feed_forward(&w->ln2, &w->mlp, &x);
        return x;
    }
    mat text = mat_new(x.rows - b->queries, WIDTH);
    memcpy(text.x, x.x + b->queries * WIDTH, text.rows * WIDTH * sizeof *text.x);
    x.rows = b->queries;
    if (case_looks(b))
        ref_cross(b, &x, seq);
    ref_feed_forward(&w->ln2_query, &w->mlp_query, &x);
    if (text.rows)
        ref_feed_forward(&w->ln2, &w->mlp, &text);
    return stack(x, text);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

static void check_numbers(const struct block_case *b, struct graph *g)
{
    vlk_var *y = evaluate(g, "numbers");
    double worst = 0, top = 0, got = 0, want = 0;
    size_t at = 0, row = 0;
    for (size_t seq = 0; y && seq < SEQUENCES; seq++) {
        mat ref = reference(b, seq);
        for (size_t r = 0; r < ref.rows; r++) {
            if (b->picked && (row == picked_start[SEQUENCES] || picked_row[row] != built.s.start[seq] + r))
                continue;
            for (size_t j = 0; j < WIDTH; j++) {
                const double is = y->data[row * WIDTH + j], should = ref.x[r * WIDTH + j], off = fabs(is - should);
                top = fmax(top, fabs(should));
                if (off > worst || is != is)
                    worst = off, at = row * WIDTH + j, got = is, want = should;
            }
            row++;
        }
        free(ref.x);
    }
    CHECK(y && row == y->rows, "%s: %zu rows", b->name, row);
    CHECK(worst <= 4e-6 * top, "%s: element %zu is %.9g, expected %.9g within 4e-6 of %.3g", b->name, at, got, want,
          top);
    forget(g);
}

/* ---- bits ---------------------------------------------------------------------------------------------- */

static const block_way ways[] = {
    {.name = "recorded"}, /* the only way that records, but for checkpoints */
    {.name = "checkpointed", .checkpoint = 1},
    {.name = "keys of images made before", .made = 1},
    {.name = "keys of its own for each", .own_copy = 1},
    {.name = "keys made before, of its own for each", .made = 1, .own_copy = 1},
    {.name = "prefix in a cache", .prefilled = 1},
    {.name = "row by row", .steps = 1},
    {.name = "row by row, prefix in a cache, keys made before", .steps = 1, .prefilled = 1, .made = 1},
    {.name = "sequence 0 alone", .alone = 1},
    {.name = "sequence 1 alone", .alone = 2},
    {.name = "sequence 2 alone", .alone = 3},
    {.name = "sequence 2 alone, keys of its own", .alone = 3, .own_copy = 1},
    {.name = "sequence 2 alone, prefix in a cache", .alone = 3, .prefilled = 1},
};

static void check_way(const struct block_case *b, struct graph *g, const block_way *way, const float *all)
{
    struct block_case c = *b;
    struct grad_case gc = {.name = b->name, .build = build_block, .arg = &c};
    const size_t *start = b->picked ? picked_start : built.s.start;
    const size_t from = way->alone ? start[way->alone - 1] : 0,
                 rows = start[way->alone ? way->alone : SEQUENCES] - from;
    c.way = way;
    g->c = &gc;
    g->grads = way == &ways[0] || way->checkpoint;
    vlk_var *y = evaluate(g, way->name);
    size_t j = 0;
    CHECK(!y || y->rows == rows, "%s, %s: %zu rows, not %zu", b->name, way->name, y ? y->rows : 0, rows);
    while (y && j < rows * WIDTH && memcmp(&y->data[j], &all[from * WIDTH + j], sizeof(float)) == 0)
        j++;
    CHECK(!y || j == rows * WIDTH, "%s, %s: element %zu is %.9g, expected %.9g to the bit", b->name, way->name, j,
          y && j < rows * WIDTH ? (double)y->data[j] : 0, y && j < rows * WIDTH ? (double)all[from * WIDTH + j] : 0);
    CHECK(vlk_tape_nodes(g->t) == 0 || g->grads, "%s, %s: something was recorded", b->name, way->name);
    forget(g);
}

static void check_block(const struct block_case *b, vlk_kernel *one, vlk_kernel *many)
{
    vlk_err err = {0};
    struct grad_case gc = {.name = b->name, .build = build_block, .arg = b};
    struct graph g = {.t = vlk_tape_new(one, &err), .c = &gc, .off = MOST, .seed = 7};
    check_numbers(b, &g);
    vlk_var *y = evaluate(&g, "one thread");
    const size_t n = y ? y->rows * y->cols : 0;
    float *all = malloc(n * sizeof *all + 1);
    if (n)
        memcpy(all, y->data, n * sizeof *all);
    forget(&g);
    for (int threads = 0; threads < 2 && n; threads++) {
        static const block_way plain = {.name = "plain"};
        check_way(b, &g, &plain, all);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            if (way_fits(b, &ways[i]))
                check_way(b, &g, &ways[i], all);
        vlk_tape_free(g.t);
        g.t = vlk_tape_new(many, &err);
    }
    free(all);
    free_slots(&g);
    vlk_tape_free(g.t);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void refused(vlk_tape *t, vlk_var *y, const char *part)
{
    vlk_err err = {0};
    CHECK(!y && vlk_tape_failed(t, &err) && strstr(err.msg, part), "refused with \"%s\", expected \"%s\"", err.msg,
          part);
}

static void check_refusals(vlk_kernel *k)
{
    vlk_err err = {0};
    vlk_tape *t = vlk_tape_new(k, &err);
    const vlk_pass p = {.t = t};
    const struct block_case queries = {.name = "refused", .c = {QFORMER}, .queries = 2};
    struct grad_case gc = {.name = "refused", .arg = &queries};
    struct graph g = {.t = t, .c = &gc, .off = MOST, .seed = 1};
    vlk_block_config c = {QFORMER, .width = WIDTH, .heads = HEADS, .mlp = MLP};
    vlk_block_w *w = make_block(&g, &queries);
    vlk_rows r = {.s = {.start = block_start, .n = SEQUENCES}, .queries = 3};
    refused(t, vlk_block(&p, &c, w, 1, in(&g, ROWS, WIDTH), &r), "a sequence of 2 rows for 3 query rows");
    r.queries = 2;
    r.pick = (vlk_pick){.row = picked_row, .qs = {.start = picked_start, .n = SEQUENCES}};
    refused(t, vlk_block(&p, &c, w, 1, in(&g, ROWS, WIDTH), &r), "of which some are picked");
    r.pick.row = NULL;
    c.query_mlp = 0;
    refused(t, vlk_block(&p, &c, w, 1, in(&g, ROWS, WIDTH), &r), "no feed-forward for them");
    r.queries = 0;
    c.cross.images = VLK_CROSS_BOTH;
    r.image[1].states = in(&g, ROWS, WIDTH);
    refused(t, vlk_block(&p, &c, w, 1, in(&g, ROWS, WIDTH), &r), "two images is given one");
    c.cross.images = VLK_CROSS_ONE;
    r.image[1].states = NULL;
    c.gated = 1;
    refused(t, vlk_block(&p, &c, w, 1, in(&g, ROWS, WIDTH), &r), "a linear layer without a weight");
    CHECK(!vlk_block(&p, &c, w, 1, NULL, &r) && vlk_tape_failed(t, &err) == 0, "NULL gives NULL, silently");
    forget(&g);
    free_slots(&g);
    vlk_tape_free(t);
}

int main(void)
{
    for (int cpu = VLK_CPU_GENERIC; cpu <= VLK_CPU_AVX512; cpu++) {
        vlk_kernel *one = kernel_of(VLK_GEMM_AUTO, VLK_F32, (vlk_cpu)cpu, 1);
        vlk_kernel *many = kernel_of(VLK_GEMM_AUTO, VLK_F32, (vlk_cpu)cpu, 3);
        for (size_t i = 0; i < BLOCK_CASES; i++)
            check_block(&block_cases[i], one, many);
        check_refusals(one);
        vlk_kernel_free(one);
        vlk_kernel_free(many);
    }
    vlk_kv_clear(&cache[0]);
    vlk_kv_clear(&cache[1]);
    return tap_end();
}
