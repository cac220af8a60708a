/* preprocess_internal.h - what the readers of both dialects' preprocessing share. */
#ifndef VLK_PREPROCESS_INTERNAL_H
#define VLK_PREPROCESS_INTERNAL_H

#include "image_internal.h"

#define VLK_MAX_SIDE 4096 /* of sizes in configs */

extern const double vlk_clip_mean[3], vlk_clip_std[3]; /* of CLIP's images */

/* How messages name a key: the file, and the key in it. */
typedef struct vlk_json_place {
    const char *path;
    char text[512];
} vlk_json_place;
const char *vlk_json_place_at(vlk_json_place *p, const char *key);

int vlk_json_absent(const vlk_json *j); /* or null */
/* The JSON reader found a mistake; it counts as one of the model. Returns -1. */
int vlk_not_a_model(vlk_err *err);
/* A number of pixels, 1..VLK_MAX_SIDE. */
int vlk_read_side(const vlk_json *j, size_t *out, const char *what, vlk_err *err) VLK_MUST_USE;
/* Three finite numbers, or one for all three; positive if so requested. Absent: nothing changes. */
int vlk_read_triple(const vlk_json *config, const char *key, double out[3], int positive, vlk_json_place *p,
                    vlk_err *err) VLK_MUST_USE;
/* "alpha": "drop" or "white". Not a key of the reference libraries: version 5 of transformers composes transparent
 * pixels on white, older ones and open_clip drop alpha, and nothing in a folder says which one a model was trained
 * with, or serves better. This key can say it. */
int vlk_read_alpha(vlk_preprocess *r, const vlk_json *config, vlk_json_place *p, vlk_err *err) VLK_MUST_USE;

#endif
