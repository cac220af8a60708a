/* test_task.c - the training loop of itc-train with a task that it has never heard of: a run of the whole program, its
 * metrics, chunks, a resumed run, learning rates by part, and how a run that goes wrong ends.
 *
 * The task "parity" tells even samples from odd ones. Part 0: images, (n,E). Part 1: texts of 1 to 3 rows of width 2,
 * one-hot rows of the sample's number through a matrix of the task's own. On the second tape, a few samples at a time:
 *     logits_i = head f_i + mean of the rows of text i,     L = mean_i CE(logits_i, i mod 2) */
#include "../scratch.h"
#include "../tap.h"
#include "../../tools/train/job.h"

#include <math.h>
#include <sys/wait.h>

#define TINY "tests/data/clip-train-cli"
enum { SAMPLES = 8, CLASSES = 2 };

static char dir[] = "/tmp/vlk-task-XXXXXX";

/* ---- the task ------------------------------------------------------------------------------------------- */

typedef struct parity_options {
    size_t some; /* samples of a chunk of the loss */
} parity_options;

typedef struct parity {
    vlk_task base;
    vlk_param head, read; /* (2,E), (2,SAMPLES) */
    const vlk_load_batch *b;
    size_t start[SAMPLES + 1]; /* rows of the texts of the batch */
    uint64_t steps;            /* saved */
    double largest;            /* of head, after the last step */
} parity;

static int opened, closed; /* tasks of this process */

static int add_own(vlk_task *t, vlk_param *p, const char *name, size_t k, vlk_err *err)
{
    const vlk_train_param own = {.name = name, .part = "parity", .dim = {CLASSES, k}, .rank = 2};
    if (vlk_train_params_add(&t->params, &own, err))
        return -1;
    const vlk_train_param *made = vlk_train_params_find(&t->params, name);
    *p = (vlk_param){.w = {.name = name, .data = made->value, .dtype = VLK_F32, .n = CLASSES, .k = k, .stride = k},
                     .grad = made->grad};
    return 0;
}

static int parity_open(vlk_task *t, vlk_err *err)
{
    parity *x = (parity *)t;
    opened++;
    if (vlk_task_add_model(t, &t->o.locked, err))
        return -1;
    return add_own(t, &x->head, "head", vlk_model_describe(t->o.model)->embed_dim, err) ||
                   add_own(t, &x->read, "read", SAMPLES, err)
               ? -1
               : 0;
}

static void parity_close(vlk_task *t)
{
    vlk_weight_clear(&((parity *)t)->head.w);
    vlk_weight_clear(&((parity *)t)->read.w);
    closed++;
}

static void parity_begin(vlk_task *t)
{
    float *head = vlk_train_params_find(&t->params, "head")->value;
    head[0] = 0.125f;
}

static int parity_state(vlk_task *t, vlk_state *s, vlk_err *err)
{
    return vlk_state_counter(s, "parity_steps", &((parity *)t)->steps, err);
}

static double parity_max_loss(const vlk_task *t)
{
    (void)t;
    return 50;
}

static int parity_batch(vlk_task *t, const vlk_load_batch *b, vlk_task_part *part, size_t *parts, vlk_err *err)
{
    parity *x = (parity *)t;
    if (b->owns > SAMPLES)
        return vlk_fail(err, VLK_EUSAGE, "a batch of %zu", b->owns);
    x->b = b;
    for (size_t i = 0; i < b->owns; i++)
        x->start[i + 1] = x->start[i] + 1 + b->row[b->own[i]].sample % 3;
    part[0] = (vlk_task_part){.items = b->owns, .cols = vlk_model_describe(t->o.model)->embed_dim, .piece = 3};
    part[1] = (vlk_task_part){.items = b->owns, .cols = CLASSES, .start = x->start};
    *parts = 2;
    return 0;
}

static vlk_var *parity_encode(vlk_task *t, const vlk_pass *p, size_t part, size_t from, size_t n)
{
    parity *x = (parity *)t;
    const vlk_model_info *i = vlk_model_describe(t->o.model);
    if (part == 0)
        return vlk_model_images(t->o.model, p,
                                &(vlk_images){.b = n, .u8 = x->b->pixels + from * i->image_w * i->image_h * 3});
    const size_t rows = x->start[from + n] - x->start[from];
    float *in = vlk_tape_alloc(p->t, rows * SAMPLES, sizeof *in);
    if (!in)
        return NULL;
    memset(in, 0, rows * SAMPLES * sizeof *in);
    for (size_t k = from; k < from + n; k++)
        for (size_t r = x->start[k]; r < x->start[k + 1]; r++)
            in[(r - x->start[from]) * SAMPLES + x->b->row[x->b->own[k]].sample] = 1;
    return vlk_linear(p->t, vlk_var_wrap(p->t, in, rows, SAMPLES), &x->read, NULL, VLK_ACT_NONE);
}

static void add_grad(float *to, const vlk_var *leaf)
{
    for (size_t i = 0; leaf->grad && i < leaf->rows * leaf->cols; i++)
        to[i] += leaf->grad[i];
}

/* Samples [from, from+n) of the batch; adds the share of those that are classified right. */
static int some_loss(parity *x, vlk_tape *second, const float *const *f, float *const *d, size_t from, size_t n,
                     vlk_losses *out, double *right, vlk_err *err)
{
    const size_t e = x->head.w.k, row = x->start[from], all = x->b->owns;
    int32_t label[SAMPLES];
    size_t start[SAMPLES + 1];
    for (size_t i = 0; i <= n; i++)
        start[i] = x->start[from + i] - row;
    for (size_t i = 0; i < n; i++)
        label[i] = (int32_t)(x->b->row[x->b->own[from + i]].sample % 2);
    vlk_var *image = vlk_leaf(second, (float *)(uintptr_t)f[0] + from * e, n, e);
    vlk_var *text = vlk_leaf(second, (float *)(uintptr_t)f[1] + row * CLASSES, start[n], CLASSES);
    vlk_var *y = vlk_linear(second, image, &x->head, NULL, VLK_ACT_NONE);
    y = vlk_add(second, y, vlk_mean_rows(second, text, &(vlk_packed){.start = start, .n = n}), VLK_ACT_NONE);
    const vlk_targets target = {.label = label};
    vlk_var *l = vlk_scale(second, vlk_cross_entropy(second, y, &target), (float)n / (float)all);
    if (!l)
        return -1;
    for (size_t i = 0; i < n; i++)
        *right += (y->data[2 * i + 1] > y->data[2 * i]) == label[i] ? 1.0 / (double)all : 0;
    out->loss += (double)l->data[0];
    if (vlk_backward(second, l, err))
        return -1;
    add_grad(d[0] + from * e, image);
    add_grad(d[1] + row * CLASSES, text);
    vlk_tape_clear(second);
    return 0;
}

enum { STEPS = 64 };
static double extra[STEPS]; /* added to the loss of a step, without a gradient */

static int parity_loss(vlk_task *t, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                       vlk_err *err)
{
    parity *x = (parity *)t;
    const size_t some = ((const parity_options *)t->o.own)->some;
    double right = 0;
    for (size_t from = 0; from < x->b->owns; from += some) {
        const size_t n = x->b->owns - from < some ? x->b->owns - from : some;
        if (some_loss(x, second, feature, d, from, n, out, &right, err))
            return -1;
    }
    out->loss += extra[t->step];
    vlk_losses_add(out, "right", right);
    vlk_losses_add(out, "steps", (double)x->steps);
    return 0;
}

static void parity_updated(vlk_task *t)
{
    parity *x = (parity *)t;
    vlk_weight_clear(&x->head.w);
    vlk_weight_clear(&x->read.w);
    x->steps++;
}

static const vlk_task_kind kind = {
    .name = "parity",
    .needs = VLK_CAN_EMBED_IMAGE,
    .size = sizeof(parity),
    .open = parity_open,
    .close = parity_close,
    .begin = parity_begin,
    .state = parity_state,
    .max_loss = parity_max_loss,
    .batch = parity_batch,
    .encode = parity_encode,
    .loss = parity_loss,
    .updated = parity_updated,
};

/* ---- runs ------------------------------------------------------------------------------------------------ */

enum { NOT_CLOSED = 99 };

/* What main does, with this task. */
static int train(int argc, char **argv, size_t some)
{
    const parity_options own = {.some = some};
    train_options o;
    train_parse(&o, argc, argv);
    int status = train_run(&o, &kind, &own);
    train_options_clear(&o);
    return opened == 1 && closed == 1 ? status : NOT_CLOSED;
}

/* The status of itc-train with this task, in a process of its own; words of the command line are separated by spaces.
 */
static int run(const char *folder, size_t some, const char *more)
{
    char text[2048], *argv[64] = {NULL}, *at = text;
    int argc = 0, status = -1;
    snprintf(text, sizeof text, "itc-train -q -j 2 -b 8 --clip-grad 0 --schedule constant --warmup 0 %s %s/%s", more,
             dir, folder);
    for (char *word; (word = strtok_r(at, " ", &at)) && argc < 63;)
        argv[argc++] = word;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        exit(train(argc, argv, some));
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static const char *path_of(const char *folder, const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s/%s", dir, folder, name);
    return path[turn];
}

/* A figure of the line of a step in metrics.jsonl. */
static double figure(const char *folder, size_t step, const char *name)
{
    char line[1024], key[64];
    double value = NAN;
    FILE *f = fopen(path_of(folder, "metrics.jsonl"), "r");
    for (size_t i = 1; f && fgets(line, sizeof line, f); i++) {
        snprintf(key, sizeof key, "\"%s\": ", name);
        const char *at = strstr(line, key);
        if (i == step && at)
            value = strtod(at + strlen(key), NULL);
    }
    if (f)
        fclose(f);
    return value;
}

#define NEW "-m " TINY "/model --train " TINY "/pairs.tar"

static void learns(void)
{
    char line[1024] = "";
    CHECK(run("whole", SAMPLES, NEW " --lr 0.05 --lr-image 1e-4 --wd 0 --steps 30 -o") == 0, "a run");
    CHECK(fabs(figure("whole", 1, "loss") - log(2)) < 0.2, "begins near chance: %g", figure("whole", 1, "loss"));
    CHECK(figure("whole", 30, "loss") < 0.25 * figure("whole", 1, "loss"), "the loss falls: %g, at last %g",
          figure("whole", 1, "loss"), figure("whole", 30, "loss"));
    CHECK(figure("whole", 30, "right") > 0.99, "all are classified right: %g", figure("whole", 30, "right"));
    CHECK(figure("whole", 30, "steps") == 29, "the task learns of every step: %g", figure("whole", 30, "steps"));
    FILE *f = fopen(path_of("whole", "metrics.jsonl"), "r");
    CHECK(f && fgets(line, sizeof line, f) && strstr(line, "\"lr\": 0.05, \"right\": ") &&
              strstr(line, ", \"steps\": 0, \"grad_norm\": ") && !strstr(line, "scale"),
          "the terms are those that the task names: %s", line);
    if (f)
        fclose(f);
}

static void chunks(void)
{
    CHECK(run("chunked", 3, NEW " --lr 0.05 --lr-image 1e-4 --wd 0 --steps 30 --chunk 3 -o") == 0, "a run in chunks");
    for (size_t step = 1; step <= 30; step++) {
        double a = figure("whole", step, "loss"), b = figure("chunked", step, "loss");
        CHECK(fabs(a - b) < 1e-4, "step %zu: loss %.9g, in chunks %.9g", step, a, b);
    }
    double a = figure("whole", 1, "grad_norm"), b = figure("chunked", 1, "grad_norm");
    CHECK(a > 0.01 && fabs(a - b) < 1e-5 * a, "norm %.9g, in chunks %.9g", a, b);
}

static int same_file(const char *a, const char *b)
{
    vlk_buf x = {0}, y = {0};
    vlk_err err;
    int same = vlk_read_file(&x, a, SIZE_MAX, &err) == 0 && vlk_read_file(&y, b, SIZE_MAX, &err) == 0 &&
               x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    vlk_buf_clear(&x);
    vlk_buf_clear(&y);
    return same;
}

/* The task's own parameters and its counter come back with the state. */
static void resumes(void)
{
    CHECK(run("parts", SAMPLES, NEW " --lr 0.05 --lr-image 1e-4 --wd 0 --steps 11 -o") == 0, "the first part");
    CHECK(run("parts", SAMPLES, "--steps 30 --resume") == 0, "the second part");
    CHECK(same_file(path_of("whole", "last/state.safetensors"), path_of("parts", "last/state.safetensors")), "state");
    CHECK(same_file(path_of("whole", "last/model.safetensors"), path_of("parts", "last/model.safetensors")), "model");
    CHECK(figure("parts", 30, "steps") == 29, "the counter went on: %g", figure("parts", 30, "steps"));
    CHECK(figure("parts", 30, "loss") == figure("whole", 30, "loss"), "the same loss");
}

static size_t moved(const char *folder)
{
    vlk_err err = {0};
    size_t n = 0;
    vlk_weights *was = vlk_weights_open(TINY "/model/model.safetensors", &err),
                *is = vlk_weights_open(path_of(folder, "last/model.safetensors"), &err);
    CHECK(was && is, "%s", err.msg);
    for (size_t i = 0; was && is && i < vlk_weights_count(was); i++) {
        const vlk_tensor *a = vlk_weights_at(was, i), *b = vlk_weights_find(is, a->name);
        n += !b || memcmp(a->data, b->data, vlk_tensor_count(a) * sizeof(float)) != 0;
    }
    vlk_weights_close(was);
    vlk_weights_close(is);
    return n;
}

/* A part that is not the model's takes --lr. */
static void rates(void)
{
    CHECK(run("still", SAMPLES, NEW " --lr 0.05 --lr-image 0 --lr-text 0 --wd 0 --steps 30 -o") == 0, "a run");
    CHECK(moved("still") == 0, "%zu tensors of the model moved", moved("still"));
    CHECK(moved("whole") > 10, "else many move: %zu", moved("whole"));
    CHECK(figure("still", 30, "right") > 0.99, "the task's own parameters are trained: %g",
          figure("still", 30, "right"));
}

static void trouble(void)
{
    CHECK(run("much", SAMPLES, NEW " --lr 1 --steps 3 --max-loss 0.1 -o") == 2, "a loss above --max-loss ends the run");
    CHECK(run("bound", SAMPLES, NEW " --lr 500 --wd 0 --steps 30 -o") == 2, "so does one above the task's own bound");
    CHECK(run("wide", SAMPLES, NEW " -b 16 --steps 1 -o") == 2, "a batch that the task refuses");
}

/* How many steps a run has made. */
static size_t made(const char *folder)
{
    size_t n = 0;
    while (n < STEPS && !isnan(figure(folder, n + 1, "loss")))
        n++;
    return n;
}

/* A start that is worse than the task's bound of 50 is honest; what follows is judged by it, after a resume as before.
 */
static void starts(void)
{
#define FAR NEW " --lr 0.01 --wd 0 --steps "
    extra[0] = 100;
    CHECK(run("far", SAMPLES, FAR "12 -o") == 0, "a start that is worse than the bound");
    extra[3] = 990;
    CHECK(run("far3", SAMPLES, FAR "12 -o") == 0, "ten times the largest so far");
    extra[3] = 1100;
    CHECK(run("far4", SAMPLES, FAR "12 -o") == 2 && made("far4") == 3, "more: %zu steps", made("far4"));
    extra[3] = 0;
    extra[12] = 290;
    extra[13] = 310;
    CHECK(run("late", SAMPLES, FAR "15 -o") == 2 && made("late") == 13, "three times: %zu steps", made("late"));
    CHECK(run("late", SAMPLES, FAR "15 --max-loss 0 -o") == 0, "no limit");
    CHECK(run("part", SAMPLES, FAR "5 -o") == 0 && run("part", SAMPLES, FAR "12 -o") == 0, "in parts");
    CHECK(run("part", SAMPLES, FAR "15 -o") == 2 && made("part") == 13, "as in one: %zu steps", made("part"));
    memset(extra, 0, sizeof extra);
}

int main(void)
{
    if (!CHECK(mkdtemp(dir), "a folder for the runs"))
        return tap_end();
    learns();
    chunks();
    resumes();
    rates();
    trouble();
    starts();
    CHECK(scratch_remove(dir) == 0, "the folder is gone");
    return tap_end();
}
