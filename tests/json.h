/* json.h - numbers of JSON files that tests compare with. */
#ifndef VLK_TEST_JSON_H
#define VLK_TEST_JSON_H

#include "../lib/stream/stream.h"

#include <math.h>

/* The number under this key; NaN if there is none. */
static inline double json_number(const vlk_json *j, const char *key)
{
    double x = NAN;
    vlk_err err;
    return vlk_json_num(vlk_json_get(j, key), &x, key, &err) ? NAN : x;
}

#endif
