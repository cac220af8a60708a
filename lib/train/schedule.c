/* schedule.c - the learning rate over a run, as is usual for CLIP: linear warm-up, then a half cosine to 0 (I.
 * Loshchilov, F. Hutter: SGDR. 2017), or flat. Counted from 0, set before the step; never 0 in warm-up. */
#include "train.h"

#include <math.h>

double vlk_schedule(vlk_schedule_kind kind, uint64_t step, uint64_t warmup, uint64_t steps)
{
    if (step < warmup)
        return (double)(step + 1) / (double)warmup;
    if (kind == VLK_SCHEDULE_CONSTANT)
        return 1;
    if (step >= steps) /* beyond the end, or if the warm-up is the whole run */
        return 0;
    return 0.5 * (1 + cos(3.141592653589793 * (double)(step - warmup) / (double)(steps - warmup)));
}
