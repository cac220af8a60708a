/* copies.c - batches that teach little: what is learned is to tell a pair from the others of its batch, so one without
 * others, copies of a pair and pairs with the same text are reported, each once. */
#include "job.h"

#include <math.h>
#include <stdlib.h>

void train_note_batch(train_job *j)
{
    const size_t batch = j->o->batch, samples = j->facts.samples;
    if (batch == 1 && j->o->negatives == 0) {
        cli_note(j->run, "--batch 1: a pair is compared with the others of its batch, and there are none%s",
                 j->o->loss == VLK_ITC_INFONCE ? ": the loss is always 0 and nothing is learned" : "");
        j->copies_reported = 1;
    } else if (batch > samples) {
        const size_t copies = (batch + samples - 1) / samples;
        cli_note(j->run,
                 "--batch %zu is more than the %zu sample%s of the data: a batch has a pair up to %zu times, and no "
                 "model can tell its copies apart%s",
                 batch, samples, samples == 1 ? "" : "s", copies,
                 j->o->loss == VLK_ITC_INFONCE ? ": the loss cannot fall to 0" : "");
        if (samples == 1 && j->o->loss == VLK_ITC_INFONCE)
            cli_note(j->run, "with a single sample the loss stays at ln %zu = %.4f", batch, log((double)batch));
        j->copies_reported = 1;
    }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Captions that another row of the batch has, too, by their hashes. */
static size_t count_repeated(const vlk_load_batch *b)
{
    size_t repeated = 0;
    uint64_t *hash = vlk_calloc(b->rows + 1, sizeof *hash, NULL);
    if (!hash)
        return 0;
    for (size_t i = 0; i < b->rows; i++)
        hash[i] = vlk_fnv1a64(b->row[i].caption.s, b->row[i].caption.n);
    qsort(hash, b->rows, sizeof *hash, by_value);
    for (size_t i = 0; i < b->rows; i++)
        repeated += (i > 0 && hash[i] == hash[i - 1]) || (i + 1 < b->rows && hash[i] == hash[i + 1]);
    free(hash);
    return repeated;
}

void train_note_captions(train_job *j, const vlk_load_batch *b)
{
    const size_t repeated = j->copies_reported || j->ranks.rank > 0 ? 0 : count_repeated(b);
    if (repeated == 0)
        return;
    j->copies_reported = 1;
    cli_note(j->run,
             "step %ju: %zu of %zu captions are equal to another one of the batch: each image counts as wrong for the "
             "text of the other (not reported for later batches)",
             (uintmax_t)j->at.step + 1, repeated, b->rows);
}
