/* test_order.c - the order of samples: a function of seed and position alone; each sample once an epoch; shares of
 * sources; windows that keep to shards. */
#include "../../lib/train/train.h"
#include "../tap.h"

static vlk_order *order(const vlk_order_source *s, size_t n, vlk_order_options o)
{
    vlk_err err = {0};
    vlk_order *p = vlk_order_new(s, n, &o, &err);
    CHECK(p, "%s", err.msg);
    return p;
}

static vlk_order_item at(vlk_order *o, uint64_t position)
{
    vlk_err err = {0};
    vlk_order_item i = {0};
    CHECK(vlk_order_at(o, position, &i, &err) == 0, "%s", err.msg);
    return i;
}

static void once_an_epoch(void)
{
    const vlk_order_source s[2] = {{.samples = 70}, {.samples = 31}};
    vlk_order *o = order(s, 2, (vlk_order_options){.seed = 3});
    size_t moved = 0, first[101];
    CHECK(vlk_order_epoch(o) == 101, "an epoch is all samples");
    for (uint64_t e = 0; e < 3; e++) {
        int count[101] = {0}, ok = 1;
        for (uint64_t i = 0; i < 101; i++) {
            vlk_order_item x = at(o, e * 101 + i);
            ok &= x.epoch == e && x.source < 2 && x.sample < s[x.source].samples &&
                  x.index == x.sample + (x.source ? 70 : 0);
            count[x.index]++;
            if (e == 0)
                first[i] = x.index;
            moved += e > 0 && first[i] != x.index;
        }
        for (int i = 0; i < 101; i++)
            ok &= count[i] == 1;
        CHECK(ok, "epoch %d: each sample once", (int)e);
    }
    CHECK(moved > 180, "epochs differ: %zu of 202 places", moved);
    vlk_order_free(o);
}

/* Any position, in any order of asking, with any history. */
static void position_alone(void)
{
    const vlk_order_source s[2] = {{.samples = 50, .weight = 3}, {.samples = 20, .weight = 1}};
    const vlk_order_options opt = {.seed = 9, .epoch_samples = 64};
    vlk_order *a = order(s, 2, opt), *b = order(s, 2, opt), *c = order(s, 2, (vlk_order_options){9, 64, 0, 16});
    vlk_order *d = order(s, 2, (vlk_order_options){10, 64, 0, 0});
    size_t seen[640], other = 0;
    for (size_t i = 0; i < 640; i++) {
        seen[i] = at(a, i).index;
        other += at(d, i).index != seen[i];
    }
    int same = 1;
    for (size_t i = 640; i-- > 0;)
        same &= at(b, i).index == seen[i];
    for (size_t i = 0; i < 640; i++)
        same &= at(b, i * 277 % 640).index == seen[i * 277 % 640];
    CHECK(same, "the same samples in any order of asking");
    CHECK(other > 550, "another seed, another order: %zu of 640", other);
    same = 1;
    size_t far = at(c, 300).index;
    for (size_t i = 0; i < 640; i++)
        (void)at(c, i);
    CHECK(at(c, 300).index == far, "windows, too");
    vlk_order_free(a);
    vlk_order_free(b);
    vlk_order_free(c);
    vlk_order_free(d);
}

static void shares(void)
{
    const vlk_order_source s[3] = {{.samples = 50, .weight = 2}, {.samples = 7, .weight = 1}, {.samples = 90}};
    vlk_order *o = order(s, 3, (vlk_order_options){.seed = 1, .epoch_samples = 100});
    int count[50] = {0};
    for (uint64_t e = 0; e < 6; e++) {
        size_t of[3] = {0};
        for (uint64_t i = 0; i < 100; i++) {
            vlk_order_item x = at(o, e * 100 + i);
            of[x.source]++;
            if (x.source == 0)
                count[x.sample]++;
        }
        CHECK(of[0] == 67 && of[1] == 33 && of[2] == 0, "epoch %d: %zu %zu %zu", (int)e, of[0], of[1], of[2]);
    }
    int least = 1000, most = 0; /* 6 * 67 of 50 samples: 8.04 passes */
    for (int i = 0; i < 50; i++) {
        least = count[i] < least ? count[i] : least;
        most = count[i] > most ? count[i] : most;
    }
    CHECK(least == 8 && most == 9, "a source is gone through evenly: %d to %d times", least, most);
    vlk_order_free(o);
}

/* Without weights, epochs of another length are shared by size, and go on where the last one stopped. */
static void short_epochs(void)
{
    const vlk_order_source s[2] = {{.samples = 60}, {.samples = 20}};
    vlk_order *o = order(s, 2, (vlk_order_options){.seed = 1, .epoch_samples = 40});
    int count[80] = {0}, ok = 1;
    for (uint64_t i = 0; i < 80; i++)
        count[at(o, i).index]++;
    for (int i = 0; i < 80; i++)
        ok &= count[i] == 1;
    CHECK(ok, "two half epochs are all samples");
    vlk_order_free(o);
}

static void batches(void)
{
    const vlk_order_source s = {.samples = 103};
    vlk_order *o = order(&s, 1, (vlk_order_options){.seed = 1, .batch = 10});
    int whole = 1;
    CHECK(vlk_order_epoch(o) == 100, "the rest of a batch is left out");
    for (uint64_t b = 0; b < 40; b++) {
        unsigned char seen[103] = {0};
        for (uint64_t i = 0; i < 10; i++) {
            size_t x = at(o, b * 10 + i).index;
            whole &= !seen[x];
            seen[x] = 1;
        }
    }
    CHECK(whole, "no sample twice in a batch");
    vlk_order_free(o);
    o = order(&s, 1, (vlk_order_options){.seed = 1, .batch = 200});
    CHECK(vlk_order_epoch(o) == 103, "a batch that is larger than an epoch leaves it whole");
    vlk_order_free(o);
}

static void windows(void)
{
    size_t shard[20];
    for (size_t i = 0; i < 20; i++)
        shard[i] = 50;
    const vlk_order_source s = {.samples = 1000, .shard = shard, .shards = 20};
    vlk_order *o = order(&s, 1, (vlk_order_options){.seed = 5, .window = 100});
    int count[1000] = {0}, ok = 1;
    size_t most = 0, in_order = 0, last = 0;
    for (uint64_t w = 0; w < 10; w++) {
        size_t shards = 0;
        unsigned char seen[20] = {0};
        for (uint64_t i = 0; i < 100; i++) {
            size_t x = at(o, w * 100 + i).index;
            count[x]++;
            shards += !seen[x / 50];
            seen[x / 50] = 1;
            in_order += x == last + 1;
            last = x;
        }
        most = shards > most ? shards : most;
    }
    for (int i = 0; i < 1000; i++)
        ok &= count[i] == 1;
    CHECK(ok, "each sample once");
    CHECK(most == 2, "a window of 100 needs two shards of 50, not %zu", most);
    CHECK(in_order < 50, "mixed within: %zu neighbours stayed so", in_order);
    CHECK(at(o, 0).index / 50 != 0 || at(o, 150).index / 50 != 1, "shards are permuted");
    vlk_order_free(o);
    const vlk_order_source two[2] = {{.samples = 300}, {.samples = 100}};
    o = order(two, 2, (vlk_order_options){.seed = 5, .window = 40});
    for (uint64_t w = 0; w < 10; w++) {
        size_t second = 0;
        for (uint64_t i = 0; i < 40; i++)
            second += at(o, w * 40 + i).source;
        CHECK(second >= 9 && second <= 11, "window %d has %zu of 40 from the smaller source", (int)w, second);
    }
    vlk_order_free(o);
}

static void refused(void)
{
    vlk_err err = {0};
    const size_t shard[2] = {3, 4};
    vlk_order_source s = {.samples = 0};
    vlk_order_options o = {.seed = 1};
    CHECK(!vlk_order_new(&s, 0, &o, &err), "%s", err.msg);
    CHECK(!vlk_order_new(&s, 1, &o, &err), "%s", err.msg);
    s = (vlk_order_source){.samples = 5, .weight = -1};
    CHECK(!vlk_order_new(&s, 1, &o, &err), "%s", err.msg);
    s.weight = 1;
    CHECK(!vlk_order_new(&s, 1, &o, &err), "%s", err.msg);
    s = (vlk_order_source){.samples = 8, .shard = shard, .shards = 2};
    CHECK(!vlk_order_new(&s, 1, &o, &err), "%s", err.msg);
}

int main(void)
{
    once_an_epoch();
    position_alone();
    shares();
    short_epochs();
    batches();
    windows();
    refused();
    return tap_end();
}
