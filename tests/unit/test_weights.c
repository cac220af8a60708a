/* test_weights.c - checkpoints of PyTorch: every container, type and kind of view, against the values that PyTorch
 * holds (tests/data/weights/expected.tsv: file, tensor, dtype, shape, values in row-major order). */
#include "../tap.h"
#include "../tensor.h"

#include "../../lib/stream/stream.h"

#define DATA "tests/data/weights/"

static double value(const vlk_tensor *t, size_t at)
{
    const unsigned char *p = (const unsigned char *)t->data + at * vlk_dtype_size(t->dtype);
    union {
        float f;
        double d;
        int64_t i64;
        int32_t i32;
        int16_t i16;
    } u = {0};
    memcpy(&u, p, vlk_dtype_size(t->dtype));
    switch (t->dtype) {
    case VLK_F64:
        return u.d;
    case VLK_I64:
        return (double)u.i64;
    case VLK_I32:
        return u.i32;
    case VLK_I16:
        return u.i16;
    case VLK_I8:
        return (signed char)*p;
    case VLK_U8:
    case VLK_BOOL:
        return *p;
    default:
        vlk_to_f32(&u.f, p, t->dtype, 1);
        return (double)u.f;
    }
}

static void check_tensor(const vlk_weights *w, const char *file, const char *name, const char *dtype, const char *shape,
                         const char *values)
{
    char text[128], *end;
    const vlk_tensor *t = vlk_weights_find(w, name);
    if (!CHECK(t, "%s: no tensor %s", file, name))
        return;
    CHECK_STR(vlk_dtype_name(t->dtype), dtype, name);
    CHECK_STR(vlk_shape_text(t->dim, t->rank, text, sizeof text), shape, name);
    size_t n = vlk_tensor_count(t), same = 0;
    for (size_t i = 0; i < n; i++, values = end) {
        double v = strtod(values, &end);
        same += end != values && v == value(t, tensor_place(t, i));
    }
    CHECK(same == n && strspn(values, " \n") == strlen(values), "%s: %s: %zu of %zu values", file, name, same, n);
}

/* A line of the table; w is the file of the lines before, rows how many of them. */
static void check_line(char *line, vlk_weights **w, char file[64], size_t *rows)
{
    char *field[5] = {line};
    int n = 1;
    for (char *s = line; *s && n < 5; s++) {
        if (*s == '\t') {
            *s = '\0';
            field[n++] = s + 1;
        }
    }
    if (!CHECK(n == 5, "a line of %d fields", n))
        return;
    if (strcmp(file, field[0]) != 0) {
        char path[128];
        vlk_err err = {0};
        if (*w)
            CHECK(*rows == vlk_weights_count(*w), "%s: %zu tensors, %zu expected", file, vlk_weights_count(*w), *rows);
        vlk_weights_close(*w);
        snprintf(file, 64, "%.63s", field[0]);
        snprintf(path, sizeof path, DATA "%s", file);
        *w = vlk_weights_open(path, &err);
        *rows = 0;
        if (strcmp(field[1], "-") == 0) {
            CHECK(!*w && strstr(err.msg, "tensor w") && strstr(err.msg, "overlapping"), "%s: %s", file, err.msg);
            return;
        }
        CHECK(*w, "%s: %s", file, err.msg);
        if (*w && strcmp(file, "training.pt") == 0) { /* the expected names are those of the module */
            CHECK(vlk_weights_prefix(*w, 0) == strlen("module."), "%s: its prefix", file);
            vlk_weights_cut(*w, strlen("module."));
        }
    }
    if (!*w)
        return;
    ++*rows;
    check_tensor(*w, file, field[1], field[2], field[3], field[4]);
}

static void test_table(void)
{
    char line[1024], file[64] = "";
    vlk_weights *w = NULL;
    size_t rows = 0, lines = 0;
    FILE *f = fopen(DATA "expected.tsv", "r");
    while (f && fgets(line, sizeof line, f))
        if (lines++ > 0)
            check_line(line, &w, file, &rows);
    CHECK(lines == 70, "%zu lines", lines);
    vlk_weights_close(w);
    if (f)
        fclose(f);
}

static void test_containers(void)
{
    static const struct {
        const char *file;
        vlk_container container;
        const char *first;
    } t[] = {{"views.pt", VLK_TORCH_ZIP, "t"},
             {"views-legacy.pt", VLK_TORCH_LEGACY, "t"},
             {"script.pt", VLK_TORCHSCRIPT, "limit"},
             {"training.pt", VLK_TORCH_ZIP, "module.limit"},
             {"model.pt", VLK_TORCH_ZIP, "limit"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char path[128];
        vlk_err err = {0};
        snprintf(path, sizeof path, DATA "%s", t[i].file);
        vlk_weights *w = vlk_weights_open(path, &err);
        if (!CHECK(w, "%s: %s", t[i].file, err.msg))
            continue;
        CHECK(vlk_weights_container(w) == t[i].container, "%s: container %d", t[i].file, vlk_weights_container(w));
        CHECK_STR(vlk_weights_at(w, 0)->name, t[i].first, "the first tensor");
        CHECK_STR(vlk_weights_path(w), path, "the path");
        vlk_weights_close(w);
    }
}

/* Views are views: two tensors of one storage share its bytes. */
static void test_shared(void)
{
    vlk_err err = {0};
    vlk_weights *w = vlk_weights_open(DATA "views.pt", &err);
    if (!CHECK(w, "%s", err.msg))
        return;
    const vlk_tensor *a = vlk_weights_find(w, "t"), *b = vlk_weights_find(w, "tied"),
                     *whole = vlk_weights_find(w, "whole"), *step = vlk_weights_find(w, "step");
    CHECK(a && b && a->data == b->data && !vlk_tensor_is_dense(a), "tied tensors");
    CHECK(whole && step && step->stride[0] == 7 &&
              (const char *)step->data == (const char *)whole->data + 3 * sizeof(float),
          "a step over a storage");
    vlk_weights_close(w);
}

int main(void)
{
    test_table();
    test_containers();
    test_shared();
    return tap_end();
}
