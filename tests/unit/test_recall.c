/* test_recall.c - recall at 1, 5, 10 on vectors whose ranks are known: several captions per image, ties, images
 * without a caption. Vectors are points of a circle, so the nearest are those with the nearest angle. */
#include "../near.h"

#include <math.h>

#include "../../tools/common/recall.h"

static vector_rows circle(vlk_tensor *t, float *v, const double *angle, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[2 * i] = (float)cos(angle[i]);
        v[2 * i + 1] = (float)sin(angle[i]);
    }
    *t = (vlk_tensor){.name = "circle", .data = v, .dtype = VLK_F32, .rank = 2, .dim = {n, 2}};
    vlk_tensor_set_dense(t);
    return (vector_rows){.name = "circle", .t = t};
}

static void check_values(const double *got, const double *want, const char *what)
{
    for (int i = 0; i < 6; i++)
        CHECK_CLOSE(got[i], want[i], 1e-12, "%s: value %d", what, i);
}

/* 3 images; texts 0,1 belong to image 0, text 2 to image 1, text 3 to image 2 but lies at image 0. */
static void test_captions(vlk_kernel *kn)
{
    static const double image[3] = {0.0, 1.0, 2.0}, text[4] = {0.3, 0.01, 0.9, 0.02};
    static const double want[6] = {2.0 / 3, 1, 1, 3.0 / 4, 1, 1};
    recall_pair truth[4] = {{3, 2}, {0, 0}, {2, 1}, {1, 0}};
    float iv[6], tv[8];
    vlk_tensor it, tt;
    vlk_err err = {0};
    double value[6];
    size_t left = 9;
    vector_rows images = circle(&it, iv, image, 3), texts = circle(&tt, tv, text, 4);
    /* image 0: texts 1, 3, 0, 2: text 1 is its own: a hit at 1. Image 1: text 2. Image 2: texts 2 first, so no hit
     * at 1. texts 0, 1: image 0; text 2: image 1; text 3: image 0 is nearest: no hit at 1. */
    CHECK(recall_values(kn, value, &images, &texts, truth, 4, &left, &err) == 0, "%s", err.msg);
    check_values(value, want, "several captions");
    CHECK(left == 0, "nobody is left out, got %zu", left);
}

/* 12 equal vectors: everything ties, the smaller index first: query i finds itself at place i. */
static void test_ties(vlk_kernel *kn)
{
    static const double same[12] = {0}, want[6] = {1.0 / 12, 5.0 / 12, 10.0 / 12, 1.0 / 12, 5.0 / 12, 10.0 / 12};
    recall_pair truth[12];
    float iv[24], tv[24];
    vlk_tensor it, tt;
    vlk_err err = {0};
    double value[6];
    size_t left;
    vector_rows images = circle(&it, iv, same, 12), texts = circle(&tt, tv, same, 12);
    for (size_t i = 0; i < 12; i++)
        truth[i] = (recall_pair){11 - i, 11 - i};
    CHECK(recall_values(kn, value, &images, &texts, truth, 12, &left, &err) == 0, "%s", err.msg);
    check_values(value, want, "ties");
}

/* An image and a text without a partner do not count, but rank before others. */
static void test_left_out(vlk_kernel *kn)
{
    static const double image[3] = {0, 0.5, 1}, text[3] = {0.05, 0.5, 1}, want[6] = {0.5, 1, 1, 0.5, 1, 1};
    recall_pair truth[2] = {{0, 0}, {1, 2}};
    float iv[6], tv[6];
    vlk_tensor it, tt;
    vlk_err err = {0};
    double value[6];
    size_t left = 0;
    vector_rows images = circle(&it, iv, image, 3), texts = circle(&tt, tv, text, 3);
    CHECK(recall_values(kn, value, &images, &texts, truth, 2, &left, &err) == 0, "%s", err.msg);
    check_values(value, want, "left out");
    CHECK(left == 2, "image 1 and text 2 are left out, got %zu", left);
}

int main(void)
{
    vlk_err err = {0};
    vlk_kernel *kn = vlk_kernel_new(&(vlk_kernel_options){.threads = 1}, &err);
    if (CHECK(kn, "%s", err.msg)) {
        test_captions(kn);
        test_ties(kn);
        test_left_out(kn);
    }
    vlk_kernel_free(kn);
    return tap_end();
}
