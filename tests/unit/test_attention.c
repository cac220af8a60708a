/* test_attention.c - attention against a double reference, and its bits: a full causal pass is the same as token by
 * token with a cache of keys and values; a sequence is the same alone or packed between others, with its keys in one
 * range or in two, its own or shared; any threads.
 *
 * Tolerance: the result is a mean of values in [-1, 1] with weights whose relative error is that of exp (about 2^-23)
 * plus the error of the scores (|s| up to 10 here, some 2^-24 each): 3e-6 absolute. */
#include "../numbers.h"

typedef struct set {
    size_t rows_q, rows_k, ld;
    float *q, *k, *v, *out;
} set;

static set make_set(size_t rows_q, size_t rows_k, size_t ld)
{
    return (set){
        rows_q, rows_k, ld, floats(rows_q * ld), floats(rows_k * ld), floats(rows_k * ld), floats(rows_q * ld)};
}

static vlk_seq seq_of(size_t q, size_t tq, size_t k, size_t tk)
{
    return (vlk_seq){.q = q, .tq = tq, .k = {k}, .tk = {tk}};
}

/* All keys in the first range. */
static int attend(vlk_kernel *kn, float *out, const set *s, const vlk_seq *seq, size_t nseq, const vlk_attn *a,
                  vlk_err *err)
{
    const vlk_key_rows keys[2] = {{.k = s->k, .v = s->v}};
    return vlk_attention_rows(kn, out, s->q, keys, seq, nseq, a, err);
}

static void drop(set *s)
{
    free(s->q), free(s->k), free(s->v), free(s->out);
}

/* The worst element of out over all sequences, and of the probabilities. */
static void compare(near *out, near *prob, const set *s, const vlk_seq *seq, size_t nseq, const vlk_attn *a,
                    const float *probs)
{
    double *p = malloc(1000 * sizeof *p);
    for (size_t n = 0; n < nseq; n++) {
        for (size_t h = 0; h < a->heads; h++)
            for (size_t i = 0; i < seq[n].tq; i++) {
                const float *q = s->q + (seq[n].q + i) * s->ld + h * a->dim, *o = s->out + (q - s->q);
                size_t keys = a->causal ? i + vlk_seq_keys(&seq[n]) - seq[n].tq + 1 : vlk_seq_keys(&seq[n]);
                double max = -1e300, sum = 0;
                for (size_t j = 0; j < keys; j++) {
                    const float *k = s->k + (seq[n].k[0] + j) * s->ld + h * a->dim;
                    p[j] = 0;
                    for (size_t d = 0; d < a->dim; d++)
                        p[j] += (double)q[d] * k[d];
                    p[j] *= a->scale;
                    max = p[j] > max ? p[j] : max;
                }
                for (size_t j = 0; j < keys; j++)
                    sum += p[j] = exp(p[j] - max);
                for (size_t j = 0; probs && j < seq[n].tk[0]; j++) {
                    const size_t at = (h * seq[n].tq + i) * seq[n].tk[0] + j;
                    near_add(prob, at, probs[at], j < keys ? p[j] / sum : 0);
                }
                for (size_t d = 0; d < a->dim; d++) {
                    double y = 0;
                    for (size_t j = 0; j < keys; j++)
                        y += p[j] / sum * s->v[(seq[n].k[0] + j) * s->ld + h * a->dim + d];
                    near_add(out, (size_t)(o - s->out) + d, o[d], y);
                }
            }
        if (probs)
            probs += a->heads * seq[n].tq * seq[n].tk[0];
    }
    free(p);
}

static void test_values(vlk_cpu cpu)
{
    static const size_t dims[] = {1, 3, 8, 15, 16, 24, 33, 64, 72, 80, 88, 104, 128, 256};
    const vlk_seq seqs[] = {seq_of(0, 5, 0, 5), seq_of(5, 1, 5, 130), seq_of(6, 70, 135, 70), seq_of(76, 0, 0, 0),
                            seq_of(76, 7, 205, 65)};
    const size_t nseq = sizeof seqs / sizeof *seqs;
    vlk_kernel *kn = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 2);
    vlk_err err = {0};
    for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
        size_t dim = dims[c], heads = c % 3 + 1;
        set s = make_set(83, 270, heads * dim);
        float *probs = floats(heads * (25 + 130 + 4900 + 455));
        for (int causal = 0; causal < 2; causal++) {
            vlk_attn a = {
                .heads = heads, .dim = dim, .scale = 3.0f / sqrtf((float)dim), .causal = causal, .probs = probs};
            near out = {0}, prob = {0};
            CHECK(attend(kn, s.out, &s, seqs, nseq, &a, &err) == 0, "%s", err.msg);
            compare(&out, &prob, &s, seqs, nseq, &a, probs);
            CHECK_NEAR(&out, 3e-6, "cpu %d, dim %zu, causal %d", cpu, dim, causal);
            CHECK_NEAR(&prob, 3e-6, "cpu %d, dim %zu, causal %d: probabilities", cpu, dim, causal);
            float *kept = malloc(83 * s.ld * sizeof *kept);
            memcpy(kept, s.out, 83 * s.ld * sizeof *kept);
            a.probs = NULL;
            CHECK(attend(kn, s.out, &s, seqs, nseq, &a, &err) == 0, "%s", err.msg);
            CHECK(memcmp(kept, s.out, 83 * s.ld * sizeof *kept) == 0, "keeping the probabilities changes no bit");
            free(kept);
        }
        free(probs);
        drop(&s);
    }
    vlk_kernel_free(kn);
}

/* Rows t of a causal pass over T tokens: all at once, one by one, in chunks, among other sequences. */
static void test_bits(vlk_cpu cpu, size_t dim, size_t heads, size_t tokens)
{
    vlk_err err = {0};
    const size_t ld = dim * heads, bytes = ld * sizeof(float);
    set s = make_set(tokens, tokens, ld);
    vlk_attn a = {.heads = heads, .dim = dim, .scale = 1.0f / sqrtf((float)dim), .causal = 1};
    float *y = floats(tokens * ld), *z = floats(3 * tokens * ld);
    for (int threads = 1; threads <= 3; threads++) {
        vlk_kernel *kn = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, threads);
        vlk_seq all = seq_of(0, tokens, 0, tokens);
        CHECK(attend(kn, threads == 1 ? y : z, &s, &all, 1, &a, &err) == 0, "%s", err.msg);
        CHECK(threads == 1 || memcmp(y, z, tokens * bytes) == 0, "threads change no bit");
        size_t wrong = 0;
        for (size_t t = 0; t < tokens; t++) { /* keys after t are not even there */
            vlk_seq one = seq_of(t, 1, 0, t + 1);
            wrong += attend(kn, z, &s, &one, 1, &a, &err) != 0;
            wrong += memcmp(y + t * ld, z + t * ld, bytes) != 0;
        }
        CHECK(wrong == 0, "cpu %d, dim %zu: %zu of %zu tokens differ one by one", cpu, dim, wrong, tokens);
        for (size_t from = 0, step = 1; from < tokens; from += step, step = step % 13 + 3) {
            size_t n = tokens - from < step ? tokens - from : step;
            vlk_seq some = seq_of(from, n, 0, from + n);
            CHECK(attend(kn, z, &s, &some, 1, &a, &err) == 0, "%s", err.msg);
            CHECK(memcmp(y + from * ld, z + from * ld, n * bytes) == 0, "chunk %zu+%zu", from, n);
        }
        vlk_seq many[3] = {seq_of(0, 3, 0, 3), seq_of(3, tokens, 3, tokens), seq_of(3 + tokens, 1, 3 + tokens, 1)};
        set m = make_set(tokens + 4, tokens + 4, ld);
        memcpy(m.q + 3 * ld, s.q, tokens * bytes);
        memcpy(m.k + 3 * ld, s.k, tokens * bytes);
        memcpy(m.v + 3 * ld, s.v, tokens * bytes);
        CHECK(attend(kn, m.out, &m, many, 3, &a, &err) == 0, "%s", err.msg);
        CHECK(memcmp(y, m.out + 3 * ld, tokens * bytes) == 0, "packed among others");
        drop(&m);
        vlk_kernel_free(kn);
    }
    free(y), free(z);
    drop(&s);
}

/* Without a mask: a query alone, before others, by more threads than tasks; many keys, few keys; with a bias and
 * dropped probabilities. */
static void test_queries(vlk_cpu cpu, size_t dim, size_t heads, size_t tq, size_t tk, int masked)
{
    vlk_err err = {0};
    const size_t ld = dim * heads;
    set s = make_set(tq, tk, ld);
    float *bias = floats(heads * tq * tk), *drop_by = floats(heads * tq * tk), *b = floats(heads * tk),
          *d = floats(heads * tk), *z = floats(tq * ld);
    for (size_t i = 0; i < heads * tq * tk; i++) {
        bias[i] = i % 7 == 3 && tk > 1 ? -INFINITY : bias[i];
        drop_by[i] = i % 5 == 1 ? 0 : 1.25f;
    }
    vlk_attn a = {.heads = heads, .dim = dim, .scale = 0.5f};
    vlk_kernel *one = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 1);
    vlk_kernel *many = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 5);
    const vlk_seq all = seq_of(0, tq, 0, tk);
    a.bias = masked ? bias : NULL, a.drop = masked ? drop_by : NULL;
    CHECK(attend(one, s.out, &s, &all, 1, &a, &err) == 0, "%s", err.msg);
    CHECK(attend(many, z, &s, &all, 1, &a, &err) == 0, "%s", err.msg);
    CHECK(memcmp(z, s.out, tq * ld * sizeof *z) == 0, "cpu %d, %zu on %zu: threads change bits", cpu, tq, tk);
    const size_t checked_apart = tq > 40 ? 11 : 1;
    size_t wrong = 0;
    for (size_t i = 0; i < tq; i += checked_apart) {
        for (size_t h = 0; h < heads; h++) {
            memcpy(b + h * tk, bias + (h * tq + i) * tk, tk * sizeof *b);
            memcpy(d + h * tk, drop_by + (h * tq + i) * tk, tk * sizeof *d);
        }
        a.bias = masked ? b : NULL, a.drop = masked ? d : NULL;
        const vlk_seq alone = seq_of(i, 1, 0, tk);
        wrong += attend(one, z, &s, &alone, 1, &a, &err) != 0;
        wrong += memcmp(z + i * ld, s.out + i * ld, ld * sizeof *z) != 0;
    }
    CHECK(wrong == 0, "cpu %d, dim %zu, %zu queries on %zu keys: %zu differ alone", cpu, dim, tq, tk, wrong);
    vlk_kernel_free(one);
    vlk_kernel_free(many);
    free(bias), free(drop_by), free(b), free(d), free(z);
    drop(&s);
}

/* The same keys in one range, and in two that are cut at every place where the loops change. */
static void test_ranges(vlk_cpu cpu, size_t dim, size_t heads, size_t tq, size_t tk, int causal)
{
    vlk_err err = {0};
    const size_t ld = dim * heads, cut[] = {0, 1, 15, 16, 63, 64, 65, tk / 2, tk - 1, tk};
    set s = make_set(tq, tk, ld);
    vlk_kernel *kn = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 2);
    float *bias = floats(heads * tq * tk), *probs = floats(heads * tq * tk), *z = floats(tq * ld), *p = floats(1);
    const vlk_seq all = seq_of(0, tq, 0, tk);
    vlk_attn a = {.heads = heads, .dim = dim, .scale = 0.4f, .causal = causal, .bias = bias, .probs = probs};
    CHECK(attend(kn, s.out, &s, &all, 1, &a, &err) == 0, "%s", err.msg);
    for (size_t c = 0; c < sizeof cut / sizeof *cut; c++) {
        const size_t first = cut[c] < tk ? cut[c] : tk, left = tk - first, bytes = left * ld * sizeof(float);
        const float *own_k = s.k + first * ld, *own_v = s.v + first * ld;
        float *k = floats((left + 2) * ld), *v = floats((left + 2) * ld); /* elsewhere, at a row of its own */
        memcpy(k + 2 * ld, own_k, bytes), memcpy(v + 2 * ld, own_v, bytes);
        const vlk_key_rows keys[2] = {{.k = first ? s.k : NULL, .v = first ? s.v : NULL}, {.k = k, .v = v}};
        const vlk_seq two = {.tq = tq, .k = {0, 2}, .tk = {first, left}};
        free(p);
        a.probs = p = floats(heads * tq * tk);
        CHECK(vlk_attention_rows(kn, z, s.q, keys, &two, 1, &a, &err) == 0, "%s", err.msg);
        CHECK(memcmp(z, s.out, tq * ld * sizeof *z) == 0, "cpu %d, dim %zu, %zu on %zu + %zu keys: other bits", cpu,
              dim, tq, first, left);
        CHECK(memcmp(p, probs, heads * tq * tk * sizeof *p) == 0, "cpu %d, %zu on %zu + %zu keys: probabilities", cpu,
              tq, first, left);
        free(k), free(v);
    }
    vlk_kernel_free(kn);
    free(bias), free(probs), free(z), free(p);
    drop(&s);
}

/* Texts of several lengths on two images, by index, against each text alone on its image. */
static void test_shared(vlk_cpu cpu, size_t dim, size_t heads, size_t tk)
{
    enum { TEXTS = 9, MOST = 21 };
    vlk_err err = {0};
    const size_t ld = dim * heads, rows[TEXTS] = {3, 1, 0, MOST, 2, 7, 1, 1, 19};
    size_t at = 0;
    vlk_seq seq[TEXTS];
    for (size_t i = 0; i < TEXTS; at += rows[i++]) /* neighbours share an image, and do not */
        seq[i] = seq_of(at, rows[i], i / 2 % 2 * tk, tk);
    set s = make_set(at, 2 * tk, ld);
    float *probs = floats(heads * at * tk), *z = floats(MOST * ld), *p = floats(heads * MOST * tk);
    vlk_kernel *one = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 1),
               *many = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, cpu, 3);
    vlk_attn a = {.heads = heads, .dim = dim, .scale = 0.3f};
    for (int keep = 0; keep < 2; keep++) { /* with probabilities a task is of one text, without of several */
        size_t begin = 0;
        a.probs = keep ? probs : NULL;
        CHECK(attend(many, s.out, &s, seq, TEXTS, &a, &err) == 0, "%s", err.msg);
        a.probs = keep ? p : NULL;
        for (size_t i = 0; i < TEXTS; begin += heads * rows[i++] * tk) {
            set alone = {.q = s.q + seq[i].q * ld, .k = s.k + seq[i].k[0] * ld, .v = s.v + seq[i].k[0] * ld};
            const vlk_seq here = seq_of(0, rows[i], 0, tk);
            CHECK(attend(one, z, &alone, &here, 1, &a, &err) == 0, "%s", err.msg);
            CHECK(memcmp(z, s.out + seq[i].q * ld, rows[i] * ld * sizeof *z) == 0,
                  "cpu %d, dim %zu, %zu keys: text %zu differs alone", cpu, dim, tk, i);
            CHECK(!keep || memcmp(p, probs + begin, heads * rows[i] * tk * sizeof *p) == 0,
                  "cpu %d, dim %zu, %zu keys: probabilities of text %zu", cpu, dim, tk, i);
        }
    }
    vlk_kernel_free(one);
    vlk_kernel_free(many);
    free(probs), free(z), free(p);
    drop(&s);
}

static void test_refused(void)
{
    vlk_err err = {0};
    vlk_kernel *kn = kernel_of(VLK_GEMM_OPENBLAS, VLK_F32, VLK_CPU_AUTO, 1);
    float x[8] = {0};
    const vlk_key_rows keys[2] = {{.k = x, .v = x}};
    vlk_seq none = seq_of(0, 1, 0, 0), short_keys = seq_of(0, 2, 0, 1);
    vlk_attn a = {.heads = 1, .dim = 2, .scale = 1.0f, .causal = 1};
    CHECK(vlk_attention_rows(kn, x, x, keys, &none, 1, &a, &err) == -1 && err.code == VLK_EUSAGE, "no keys");
    CHECK(vlk_attention_rows(kn, x, x, keys, &short_keys, 1, &a, &err) == -1, "causal with fewer keys than queries");
    CHECK(vlk_attention_rows(kn, x, x, keys, NULL, 0, &a, &err) == 0, "no sequences");
    vlk_kernel_free(kn);
}

int main(void)
{
    for (int cpu = VLK_CPU_GENERIC; cpu <= VLK_CPU_AVX512; cpu++) {
        test_values((vlk_cpu)cpu);
        test_bits((vlk_cpu)cpu, 64, 2, 77);
        test_bits((vlk_cpu)cpu, 20, 3, 150);
        test_bits((vlk_cpu)cpu, 88, 1, 40);
        for (int masked = 0; masked < 2; masked++) {
            test_queries((vlk_cpu)cpu, 64, 2, 130, 577, masked); /* pieces of 66 queries */
            test_queries((vlk_cpu)cpu, 5, 9, 32, 33, masked);
            test_queries((vlk_cpu)cpu, 16, 1, 7, 1, masked);
            test_queries((vlk_cpu)cpu, 1, 1, 1, 300, masked);
        }
        for (int causal = 0; causal < 2; causal++) {
            test_ranges((vlk_cpu)cpu, 64, 2, 1, 130, causal);
            test_ranges((vlk_cpu)cpu, 20, 1, 5, 70, causal);
            test_ranges((vlk_cpu)cpu, 33, 3, 40, 200, causal);
        }
        test_shared((vlk_cpu)cpu, 64, 2, 197);
        test_shared((vlk_cpu)cpu, 10, 3, 5);
    }
    test_refused();
    return tap_end();
}
