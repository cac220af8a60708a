/* ranges_internal.h - keys and values of one head that lie in two places, read by their number. PACK is defined by the
 * file that includes this. */

/* Row j, of rows that are ld floats apart. */
ALWAYS_INLINE const float *range_row(const vlk_ranges *r, size_t ld, size_t j)
{
    return j < r->first ? r->at[0] + j * ld : r->at[1] + (j - r->first) * ld;
}

/* panel (dim,64) = rows j .. j+n, transposed. `both` (64,dim): room for rows that lie in both ranges. */
static void pack_range(float *panel, float *both, const vlk_ranges *r, size_t j, size_t n, size_t dim, size_t ld)
{
    const float *rows = range_row(r, ld, j);
    if (j < r->first && j + n > r->first) {
        for (size_t i = 0; i < n; i++)
            memcpy(both + i * dim, range_row(r, ld, j + i), dim * sizeof *both);
        rows = both;
        ld = dim;
    }
    PACK(panel,
         &(vlk_panel_src){.data = (const unsigned char *)rows, .dtype = VLK_F32, .n = n, .k = dim, .stride = ld});
}
