/* test_fields.c - the table of a block's parameters: it lists each of them once, and a block has those that its config
 * asks for at its layer. */
#include "../../lib/model/bind_internal.h"
#include "../tap.h"

/* The block is parameters and nothing else, so that a place in it is the number of one. */
enum { PARAMS = sizeof(vlk_block_w) / sizeof(vlk_param), CLIP = 16 };

static void test_each_once(void)
{
    size_t n, seen[PARAMS] = {0};
    const vlk_field *f = vlk_fields_of(VLK_FIELDS_BLOCK, &n);
    CHECK(n == PARAMS, "%zu fields for %d parameters", n, (int)PARAMS);
    for (size_t i = 0; i < n; i++)
        if (CHECK(f[i].at % sizeof(vlk_param) == 0 && f[i].at < sizeof(vlk_block_w), "%s", f[i].ours))
            seen[f[i].at / sizeof(vlk_param)]++;
    for (size_t i = 0; i < PARAMS; i++)
        CHECK(seen[i] == 1, "parameter %zu is listed %zu times", i, seen[i]);
}

/* How many fields a block with these bits has; *last is the last of them. */
static size_t fields_with(unsigned has, size_t *last)
{
    size_t n, count = 0;
    const vlk_field *f = vlk_fields_of(VLK_FIELDS_BLOCK, &n);
    for (size_t i = 0; i < n; i++)
        if ((f[i].when & has) == f[i].when) {
            count++;
            *last = i;
        }
    return count;
}

static void has_at(const char *what, const vlk_block_config *c, size_t layer, unsigned bits, size_t fields)
{
    size_t last;
    const unsigned has = vlk_block_has(c, layer);
    CHECK(has == bits, "%s, layer %zu: bits %#x, expected %#x", what, layer, has, bits);
    CHECK(fields_with(has, &last) == fields, "%s, layer %zu: %zu fields, expected %zu", what, layer,
          fields_with(has, &last), fields);
}

static void test_bits(void)
{
    enum { NORM = 2, ATTENTION = 8, MERGE = 2, MLP = 4, CROSS = NORM + ATTENTION };
    const unsigned b = VLK_HAS_NORM_BIAS, cross = VLK_HAS_CROSS, two = VLK_HAS_CROSS_TWO, merge = VLK_HAS_MERGE;
    size_t last = 0;
    const vlk_block_config clip = {.width = 8, .heads = 2, .mlp = 32};
    has_at("CLIP", &clip, 3, b, CLIP);
    CHECK(fields_with(b, &last) == last + 1, "CLIP's fields come first: the order is that of files");

    const vlk_block_config albef = {.cross = {.from = 6, .every = 1, .images = VLK_CROSS_TURNS}};
    has_at("from 6", &albef, 0, b, CLIP);
    has_at("from 6", &albef, 5, b, CLIP);
    has_at("from 6", &albef, 6, b | cross, CLIP + CROSS);
    has_at("from 6", &albef, 11, b | cross, CLIP + CROSS);

    const vlk_block_config pairs = {.cross = {.every = 1, .images = VLK_CROSS_BOTH, .merge_from = 6}};
    has_at("both images", &pairs, 5, b | cross | two, CLIP + CROSS + ATTENTION);
    has_at("both images", &pairs, 6, b | cross | two | merge, CLIP + CROSS + ATTENTION + MERGE);

    const vlk_block_config query = {.cross = {.from = 1, .every = 2}, .query_mlp = 1};
    has_at("query rows", &query, 0, b | VLK_HAS_QUERY_MLP, CLIP + NORM + MLP);
    has_at("query rows", &query, 1, b | VLK_HAS_QUERY_MLP | cross, CLIP + NORM + MLP + CROSS);
    has_at("query rows", &query, 2, b | VLK_HAS_QUERY_MLP, CLIP + NORM + MLP);
    has_at("query rows", &query, 3, b | VLK_HAS_QUERY_MLP | cross, CLIP + NORM + MLP + CROSS);

    const vlk_block_config gated = {.norm = VLK_RMS_NORM, .gated = 1};
    has_at("gated, RMS norms", &gated, 0, VLK_HAS_GATE, CLIP + 1 - 2);
    const vlk_block_config all = {.cross = pairs.cross, .query_mlp = 1, .gated = 1};
    has_at("all", &all, 6, b | cross | two | merge | VLK_HAS_QUERY_MLP | VLK_HAS_GATE, PARAMS);
}

int main(void)
{
    test_each_once();
    test_bits();
    return tap_end();
}
