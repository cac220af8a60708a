/* test_train_steps.c - ten AdamW steps of whole models, as the reference's training script takes them: learning rate
 * by the schedule, loss, gradients of all parameters, their norm and its limit, decoupled decay where open_clip decays,
 * the temperature held in [0, ln 100] after the step.
 *
 * Always: the losses, temperatures and norms of every step of four runs of tests/data/clip-train, and of the first one
 * with the gradient cache in chunks of four. With VLK_GOLDEN (clip-train): a ResNet, too, with its batch norms
 * training, and the weights and running statistics that the runs end with.
 *
 * Tolerances, and the reference's own float32 against the float64 that is compared with: losses 1e-5 of max(1, loss)
 * (1e-6), ResNet 1e-4 (1e-5); weights 5e-5 (2e-5), ResNet 5e-4 (1e-4); running statistics 1e-3 of a tensor's largest
 * (6e-5); norms and temperatures 5e-5, ResNet 1e-3. k_proj.bias is left out: its true gradient is zero (softmax does
 * not see it), and Adam turns rounding noise into steps. */
#include "../json.h"
#include "../near.h"
#include "../../lib/head/head.h"
#include "../../lib/model/model.h"
#include "../../lib/train/train.h"

enum { STEPS = 10, WARMUP = 3 };

typedef struct figures {
    double loss, log_scale, norm;
} figures;

typedef struct plan {
    const char *name, *model, *pixels, *ids;
    vlk_itc_kind kind;
    size_t steps, shift; /* text i is that of pair i + shift */
    double lr, clip;
    float log_scale, bias; /* where it starts */
    size_t chunk;
    int resnet;
    figures want[STEPS];
    const char *final; /* its folder's name with VLK_GOLDEN, or NULL */
} plan;

/* From the reference's log: loss, logit_scale (before the step), norm of the gradient (before it is limited). */
static const plan plans[] = {
    {
        .name = "vit",
        .model = "model",
        .pixels = "pixels.npy",
        .ids = "ids.npy",
        .kind = VLK_ITC_INFONCE,
        .steps = 10,
        .lr = 1e-3,
        .log_scale = 2.65926003f,
        .chunk = 8,
        .want = {{3.30235711, 2.65926003, 21.1154901},
                 {2.40721646, 2.6589267, 14.7814709},
                 {1.63194077, 2.6583202, 7.37330896},
                 {1.39783539, 2.65765886, 8.84820821},
                 {1.17719808, 2.65714713, 5.51544201},
                 {1.04335045, 2.6567951, 6.33915767},
                 {0.88267471, 2.6565835, 5.06239467},
                 {0.763112979, 2.65648818, 3.66739947},
                 {0.699379834, 2.65646539, 3.19642965},
                 {0.670435055, 2.65647013, 3.10406551}},
        .final = "vit",
    },
    {
        .name = "vit-clipped",
        .model = "model",
        .pixels = "pixels.npy",
        .ids = "ids.npy",
        .kind = VLK_ITC_INFONCE,
        .steps = 10,
        .lr = 1e-3,
        .clip = 0.3,
        .log_scale = 2.65926003f,
        .chunk = 8,
        .want = {{3.30235711, 2.65926003, 21.1154901},
                 {2.40836648, 2.65892671, 14.7909185},
                 {1.63472922, 2.6582865, 7.4201222},
                 {1.29226613, 2.65766407, 7.0628605},
                 {1.06511354, 2.65733433, 6.59080909},
                 {0.817244308, 2.65726652, 4.82020432},
                 {0.633342659, 2.65743805, 3.23632847},
                 {0.518813125, 2.65771385, 3.19960371},
                 {0.440220237, 2.65794206, 2.99256508},
                 {0.398660392, 2.65807051, 2.84669789}},
        .final = "vit-clipped",
    },
    {
        .name = "vit-clamp",
        .model = "model",
        .pixels = "pixels.npy",
        .ids = "ids.npy",
        .kind = VLK_ITC_INFONCE,
        .steps = 4,
        .shift = 3,
        .lr = 5e-3,
        .log_scale = 0.001f,
        .chunk = 8,
        .want = {{2.10639871, 0.001, 0.628787202},
                 {2.02006707, 0, 0.521768032},
                 {1.86408109, 0.000920503969, 1.04227153},
                 {1.56788829, 0.00426032855, 1.28937261}},
        .final = "vit-clamp",
    },
    {
        .name = "siglip-loss",
        .model = "model",
        .pixels = "pixels.npy",
        .ids = "ids.npy",
        .kind = VLK_ITC_SIGLIP,
        .steps = 10,
        .lr = 1e-3,
        .log_scale = 2.30258512f,
        .bias = -10,
        .chunk = 8,
        .want = {{9.30139117, 2.30258512, 22.4601306},
                 {8.22196688, 2.30291846, 22.4936301},
                 {6.29982575, 2.30354147, 19.7506694},
                 {4.33598684, 2.30443754, 15.5783578},
                 {3.2435767, 2.30534284, 11.5677217},
                 {2.77798756, 2.30623148, 8.40891875},
                 {2.58558304, 2.30700064, 6.14631945},
                 {2.48498924, 2.30756702, 4.83372398},
                 {2.42757029, 2.30791041, 4.36041835},
                 {2.39781308, 2.30806767, 4.21908846}},
        .final = "siglip-loss",
    },
};

/* ---- a run ------------------------------------------------------------------------------------------ */

typedef struct job {
    const plan *p;
    vlk_model *m;
    vlk_kernel *kernel;
    vlk_npy pixels, ids;
    size_t n, *start;
    int32_t *id; /* in the order of the texts */
    float *log_scale, *log_scale_grad, *bias, *bias_grad;
    vlk_train_params params;
} job;

static void bail(const vlk_err *err)
{
    printf("Bail out: %s\n", err->msg);
    exit(1);
}

static vlk_var *encode(void *arg, vlk_tape *t, size_t part, size_t from, size_t n)
{
    job *j = arg;
    const size_t image = vlk_tensor_count(&j->pixels.t) / j->n;
    const vlk_pass pass = {.t = t, .train = 1};
    if (part == 0)
        return vlk_model_images(j->m, &pass,
                                &(vlk_images){.b = n, .f32 = (const float *)j->pixels.t.data + from * image});
    return vlk_model_texts(j->m, &pass, &(vlk_id_texts){.id = j->id, .start = j->start + from, .n = n});
}

static int loss_of(void *arg, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                   vlk_err *err)
{
    job *j = arg;
    (void)second;
    const vlk_itc_batch b = {.image = feature[0],
                             .text = feature[1],
                             .n = j->n,
                             .e = vlk_model_describe(j->m)->embed_dim,
                             .log_scale = j->log_scale[0],
                             .bias = j->bias ? j->bias[0] : 0};
    vlk_itc_grad g = {.image = d[0], .text = d[1]};
    if (vlk_itc_loss(j->kernel, j->p->kind, &b, &g, err))
        return -1;
    out->loss = g.loss;
    j->log_scale_grad[0] += (float)g.log_scale;
    if (j->bias)
        j->bias_grad[0] += (float)g.bias;
    return 0;
}

static void open_array(vlk_npy *npy, const char *dir, const char *name)
{
    char path[1024];
    vlk_err err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (vlk_npy_open(npy, path, &err))
        bail(&err);
}

static void open_model(job *j, const char *dir)
{
    const vlk_trainable_options to = {.logit_bias = j->p->kind == VLK_ITC_SIGLIP};
    const vlk_param_ref *ref;
    size_t n = 0;
    char path[1024];
    vlk_err err;
    snprintf(path, sizeof path, "%s/%s", dir, j->p->model);
    j->m = vlk_model_open(path, NULL, &err);
    if (!j->m || vlk_model_trainable(j->m, &to, &ref, &n, NULL, &err))
        bail(&err);
    for (size_t i = 0; i < n; i++) {
        vlk_train_param p = {.name = ref[i].name,
                             .value = ref[i].value,
                             .grad = ref[i].grad,
                             .rank = ref[i].rank,
                             .decay = ref[i].decay,
                             .frozen = !ref[i].grad || ref[i].statistic};
        memcpy(p.dim, ref[i].dim, sizeof p.dim);
        if (vlk_train_params_add(&j->params, &p, &err))
            bail(&err);
        if (strcmp(p.name, "logit_scale") == 0) {
            j->log_scale = p.value;
            j->log_scale_grad = p.grad;
        } else if (strcmp(p.name, "logit_bias") == 0) {
            j->bias = p.value;
            j->bias_grad = p.grad;
        }
    }
    j->log_scale[0] = j->p->log_scale;
    if (j->bias)
        j->bias[0] = j->p->bias;
}

static void open_texts(job *j)
{
    const size_t context = j->ids.t.dim[1];
    const int32_t *from = j->ids.t.data;
    j->n = j->ids.t.dim[0];
    j->start = malloc((j->n + 1) * sizeof *j->start);
    j->id = malloc(j->n * context * sizeof *j->id);
    for (size_t i = 0; i <= j->n; i++)
        j->start[i] = i * context;
    for (size_t i = 0; i < j->n; i++)
        memcpy(j->id + i * context, from + (i + j->p->shift) % j->n * context, context * sizeof *j->id);
}

/* Within limit of max(1, |want|). */
static void check_figure(const job *j, size_t step, const char *what, double got, double want, double limit)
{
    CHECK_CLOSE(got, want, limit * fmax(1, fabs(want)), "%s: step %zu: %s", j->p->name, step, what);
}

static void step(job *j, vlk_gradcache *cache, vlk_adamw *a, size_t s)
{
    const plan *p = j->p;
    const size_t e = vlk_model_describe(j->m)->embed_dim;
    const vlk_gradcache_part part[] = {{.items = j->n, .cols = e, .chunk = p->chunk},
                                       {.items = j->n, .cols = e, .chunk = p->chunk}};
    const vlk_gradcache_calls calls = {.arg = j, .encode = encode, .loss = loss_of};
    const double lr = p->lr * vlk_schedule(VLK_SCHEDULE_COSINE, s, WARMUP, p->steps);
    vlk_losses losses;
    vlk_err err;
    vlk_train_params_zero_grad(&j->params, vlk_kernel_pool(j->kernel));
    if (vlk_gradcache_run(cache, part, 2, &calls, &losses, &err))
        bail(&err);
    const double norm = vlk_adamw_grad_norm(a);
    check_figure(j, s, "loss", losses.loss, p->want[s].loss, p->resnet ? 1e-4 : 1e-5);
    check_figure(j, s, "logit_scale", (double)j->log_scale[0], p->want[s].log_scale, p->resnet ? 1e-3 : 5e-5);
    check_figure(j, s, "norm", norm, p->want[s].norm, p->resnet ? 1e-3 : 5e-5);
    vlk_adamw_step(a, &(vlk_rates){.lr = lr}, vlk_clip_factor(norm, p->clip));
    j->log_scale[0] = fminf(fmaxf(j->log_scale[0], 0), logf(100));
    vlk_model_updated(j->m);
}

/* ---- what it ends with ------------------------------------------------------------------------------- */

static void check_tensor(const job *j, const vlk_train_param *p, const vlk_tensor *want)
{
    const int statistic = strstr(p->name, "running_") != NULL;
    /* of open_clip's stacked bias the middle third is the keys' */
    const int stacked = strstr(p->name, "in_proj_bias") != NULL;
    near c = {0};
    if (!CHECK(vlk_tensor_count(want) == p->count && want->rank == p->rank, "%s: %s: shape", j->p->name, p->name))
        return;
    for (size_t i = 0; i < p->count; i++) {
        float w;
        vlk_to_f32(&w, (const float *)want->data + i, VLK_F32, 1);
        if (stacked && i >= p->count / 3 && i < 2 * p->count / 3)
            continue;
        near_add(&c, i, (double)p->value[i], (double)w);
    }
    CHECK_NEAR(&c, statistic ? 1e-3 * c.top : j->p->resnet ? 5e-4 : 5e-5, "%s: %s", j->p->name, p->name);
}

static void check_final(const job *j, const char *dir)
{
    char path[1024];
    vlk_err err;
    size_t seen = 0;
    snprintf(path, sizeof path, "%s/%s/final.safetensors", dir, j->p->final);
    vlk_weights *w = vlk_weights_open(path, &err);
    if (!w)
        bail(&err);
    for (size_t i = 0; i < j->params.n; i++) {
        const vlk_train_param *p = &j->params.p[i];
        const vlk_tensor *t = vlk_weights_find(w, p->name);
        if (strstr(p->name, "k_proj.bias"))
            continue;
        if (CHECK(t, "%s: %s is not in %s", j->p->name, p->name, path))
            check_tensor(j, p, t);
        seen++;
    }
    size_t counters;
    const vlk_counter_ref *c = vlk_model_counters(j->m, &counters);
    for (size_t i = 0; i < counters; i++)
        CHECK(*c[i].value >= (int64_t)j->p->steps, "%s: %s is %lld", j->p->name, c[i].name, (long long)*c[i].value);
    CHECK(seen > 60, "%s: %zu tensors compared", j->p->name, seen);
    vlk_weights_close(w);
}

static void test_run(const char *dir, const plan *p, int final)
{
    static const vlk_adamw_options ao = {0.9, 0.98, 1e-6, 0.2};
    job j = {.p = p};
    vlk_err err;
    const char *backend = getenv("VLK_GEMM");
    j.kernel = vlk_kernel_new(
        &(vlk_kernel_options){
            .threads = 2, .backend = backend && strcmp(backend, "openblas") == 0 ? VLK_GEMM_OPENBLAS : VLK_GEMM_AUTO},
        &err);
    vlk_tape *t = j.kernel ? vlk_tape_new(j.kernel, &err) : NULL;
    vlk_gradcache *cache = t ? vlk_gradcache_new(t, &err) : NULL;
    if (!cache)
        bail(&err);
    open_array(&j.pixels, dir, p->pixels);
    open_array(&j.ids, dir, p->ids);
    open_texts(&j);
    open_model(&j, dir);
    vlk_adamw *a = vlk_adamw_new(&j.params, &ao, vlk_kernel_pool(j.kernel), &err);
    if (!a)
        bail(&err);
    for (size_t s = 0; s < p->steps; s++)
        step(&j, cache, a, s);
    if (final)
        check_final(&j, dir);
    vlk_adamw_free(a);
    vlk_gradcache_free(cache);
    vlk_train_params_clear(&j.params);
    vlk_model_close(j.m);
    vlk_tape_free(t);
    vlk_kernel_free(j.kernel);
    vlk_npy_close(&j.pixels);
    vlk_npy_close(&j.ids);
    free(j.start);
    free(j.id);
}

/* ---- the larger set ----------------------------------------------------------------------------------- */

/* A run as the set describes it, all digits of it. */
static int read_plan(plan *p, const vlk_json *all)
{
    const vlk_json *run = vlk_json_get(all, p->name), *o = vlk_json_get(run, "options"),
                   *log = vlk_json_get(run, "log");
    if (!CHECK(vlk_json_len(log) == p->steps && json_number(o, "steps") == (double)p->steps, "%s: %zu steps", p->name,
               vlk_json_len(log)))
        return 0;
    p->lr = json_number(o, "lr");
    p->log_scale = (float)json_number(o, "start_logit_scale");
    for (size_t s = 0; s < p->steps; s++) {
        const vlk_json *l = vlk_json_at(log, s);
        p->want[s] = (figures){json_number(l, "loss"), json_number(l, "logit_scale"), json_number(l, "grad_norm")};
    }
    return 1;
}

static void test_golden(const char *golden)
{
    char dir[1000], path[1024];
    vlk_err err;
    snprintf(dir, sizeof dir, "%s/clip-train", golden);
    snprintf(path, sizeof path, "%s/expected.json", dir);
    vlk_json *all = vlk_json_load(path, &err);
    if (!all)
        bail(&err);
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        plan p = plans[i];
        if (read_plan(&p, all))
            test_run(dir, &p, 1);
    }
    plan rn = {.name = "rn",
               .model = "rn-model-open_clip",
               .pixels = "rn-pixels.npy",
               .ids = "rn-ids.npy",
               .kind = VLK_ITC_INFONCE,
               .steps = 10,
               .chunk = SIZE_MAX,
               .resnet = 1,
               .final = "rn"};
    if (read_plan(&rn, all))
        test_run(dir, &rn, 1);
    vlk_json_free(all);
}

int main(void)
{
    const char *golden = getenv("VLK_GOLDEN");
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        test_run("tests/data/clip-train", &plans[i], 0);
    plan chunks = plans[0];
    chunks.name = "vit, chunks of 4";
    chunks.chunk = 4;
    test_run("tests/data/clip-train", &chunks, 0);
    if (golden)
        test_golden(golden);
    return tap_end();
}
