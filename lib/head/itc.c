/* itc.c - image-text contrast: logits, probabilities of labels, the zero-shot classifier.
 *
 *     logits = exp(t) I T^T + bias        p = softmax over labels (CLIP), sigmoid of each (SigLIP)
 *     classifier of a class = normalise(mean over templates of normalise(embedding))
 *
 * I and T are normalised rows. (arXiv 2103.00020, 3.1.4; arXiv 2303.15343 for the sigmoid.) */
#include "head.h"

#include <math.h>
#include <string.h>

static float sigmoid(float x)
{
    if (x >= 0)
        return 1.0f / (1.0f + expf(-x));
    float e = expf(x); /* x < 0: exp cannot overflow */
    return e / (1.0f + e);
}

void vlk_itc_probabilities(vlk_kernel *k, float *p, const float *c, size_t m, size_t n, const vlk_model_info *model)
{
    for (size_t i = 0; i < m * n; i++) {
        float logit = model->logit_scale * c[i] + model->logit_bias;
        p[i] = model->has_logit_bias ? sigmoid(logit) : logit;
    }
    if (!model->has_logit_bias && m && n)
        vlk_softmax_rows(k, p, p, m, n);
}

void vlk_itc_classifier(vlk_kernel *k, float *classifier, float *embeds, size_t classes, size_t templates, size_t e)
{
    vlk_l2_normalize_rows(k, embeds, embeds, classes * templates, e, NULL);
    memset(classifier, 0, classes * e * sizeof *classifier);
    for (size_t c = 0; c < classes; c++) {
        float *to = classifier + c * e;
        for (size_t p = 0; p < templates; p++)
            for (size_t i = 0; i < e; i++)
                to[i] += embeds[(c * templates + p) * e + i];
        for (size_t i = 0; i < e && templates; i++)
            to[i] /= (float)templates;
    }
    vlk_l2_normalize_rows(k, classifier, classifier, classes, e, NULL);
}
