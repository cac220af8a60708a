/* test_block_grad.c - gradients of the transformer block (gradient.h) for every field of its config (block.h): to x, to
 * its parameters, to images and prefixes that sequences share, through caches, where it is frozen, and where it is
 * computed again in backward: then they are the same, bit for bit. */
#include "../block.h"

static const block_way ways[] = {
    {.name = "plain"},
    {.name = "keys made before", .made = 1},
    {.name = "keys of its own for each", .own_copy = 1},
    {.name = "prefix in a cache", .prefilled = 1},
    {.name = "row by row, with a cache", .steps = 1},
    {.name = "frozen", .frozen = 1},
    {.name = "frozen, keys made before", .frozen = 1, .made = 1},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* Gradients of all slots of a case, one after the other, in g. */
static int all_gradients(struct graph *g, const struct grad_case *c, vlk_kernel *k)
{
    vlk_err err = {0};
    *g = (struct graph){.t = vlk_tape_new(k, &err), .c = c, .off = MOST, .seed = 5};
    float r[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        r[i] = draw(&g->seed);
    return gradients(g, r, NULL);
}

/* The same way of calling with and without a checkpoint. */
static void check_checkpoint(const struct block_case *b, const block_way *plain, vlk_kernel *k)
{
    block_way way[2] = {*plain, *plain};
    struct block_case c[2] = {*b, *b};
    struct grad_case gc[2];
    struct graph g[2];
    int ok = 1;
    for (int i = 0; i < 2; i++) {
        way[i].checkpoint = i;
        c[i].way = &way[i];
        gc[i] = (struct grad_case){.name = b->name, .build = build_block, .arg = &c[i]};
        ok &= all_gradients(&g[i], &gc[i], k) == 0;
    }
    for (size_t s = 0; ok && s < g[0].slots; s++)
        same_bits(&g[1], plain->name, s, g[1].slot[s].grad, g[0].slot[s].grad, g[0].slot[s].n);
    for (int i = 0; i < 2; i++) {
        free_slots(&g[i]);
        vlk_tape_free(g[i].t);
    }
}

int main(void)
{
    static struct block_case variant[BLOCK_CASES * WAYS];
    static struct grad_case table[BLOCK_CASES * WAYS];
    static const block_way shared = {.own_copy = 1}; /* there is something to look at */
    static char name[BLOCK_CASES * WAYS][128];
    vlk_err err = {0};
    size_t n = 0;
    for (size_t i = 0; i < BLOCK_CASES; i++)
        for (size_t w = 0; w < WAYS; w++) {
            if (!way_fits(&block_cases[i], &ways[w]) || (ways[w].frozen && !way_fits(&block_cases[i], &shared)))
                continue;
            variant[n] = block_cases[i];
            variant[n].way = &ways[w];
            snprintf(name[n], sizeof name[n], "%s; %s", block_cases[i].name, ways[w].name);
            table[n] = (struct grad_case){.name = name[n], .build = build_block, .arg = &variant[n]};
            n++;
        }
    check_gradients(table, n, 1);
    vlk_kernel *k = vlk_kernel_new(&(vlk_kernel_options){.threads = 2}, &err);
    for (size_t i = 0; CHECK(k, "%s", err.msg) && i < BLOCK_CASES; i++)
        for (size_t w = 0; w < WAYS; w++)
            if (way_fits(&block_cases[i], &ways[w]))
                check_checkpoint(&block_cases[i], &ways[w], k);
    vlk_kernel_free(k);
    vlk_kv_clear(&cache[0]);
    vlk_kv_clear(&cache[1]);
    return tap_end();
}
