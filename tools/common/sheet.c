/* sheet.c - drawing a contact sheet into an RGB image.
 *
 *   MARGIN
 *   title                                        small, grey
 *   heading of row 0                             bold, a thin line under it
 *   [thumb] GAP [thumb] GAP ...                  at most `columns`, then the next line of the same row
 *   1  0.312                                     rank and score
 *   key, shor...its middle                       grey
 *   heading of row 1 ...
 *
 * Colours: dark text on a light page (contrast above 7:1); thumbnails on white with a hairline around them. */
#include "sheet.h"

#include <stdlib.h>
#include <string.h>

#include "font_table.h"

enum {
    MARGIN = 28,
    GAP = 16,
    TITLE_H = VLK_FONT_H + 14,
    HEADING_H = VLK_FONT_H + 20,
    LABEL_H = 3 * (VLK_FONT_H + 3) + 6,
    CELL_H = SHEET_THUMB + 2 + LABEL_H,
    ROW_GAP = 22,
    MIN_COLUMNS = 4,
    MAX_TEXT = 512 /* glyphs of one text that are looked at, at either end */
};

#define MAX_PIXELS 100000000u

typedef struct colour {
    uint8_t r, g, b;
} colour;

static const colour PAGE = {250, 250, 248}, INK = {28, 30, 34}, FAINT = {88, 92, 100}, LINE = {206, 208, 212},
                    ACCENT = {22, 92, 150}, GONE = {236, 234, 230}, CROSS = {200, 168, 160};

struct sheet {
    uint8_t *rgb;
    size_t w, h, columns, rows;
    size_t *top;   /* y of each row's heading */
    size_t *cells; /* images of each row */
};

/* ---- marks ---------------------------------------------------------------------------------------- */

static void dot(sheet *s, size_t x, size_t y, colour c)
{
    if (x < s->w && y < s->h) {
        uint8_t *p = s->rgb + (y * s->w + x) * 3;
        p[0] = c.r;
        p[1] = c.g;
        p[2] = c.b;
    }
}

static void fill(sheet *s, size_t x, size_t y, size_t w, size_t h, colour c)
{
    for (size_t j = y; j < y + h; j++)
        for (size_t i = x; i < x + w; i++)
            dot(s, i, j, c);
}

static void frame(sheet *s, size_t x, size_t y, size_t w, size_t h, colour c)
{
    fill(s, x, y, w, 1, c);
    fill(s, x, y + h - 1, w, 1, c);
    fill(s, x, y, 1, h, c);
    fill(s, x + w - 1, y, 1, h, c);
}

static void glyph(sheet *s, size_t x, size_t y, unsigned g, colour c)
{
    for (size_t j = 0; j < VLK_FONT_H; j++)
        for (size_t i = 0; i < VLK_FONT_W; i++)
            if (font_table[g][j] & (0x80u >> i))
                dot(s, x + i, y + j, c);
}

/* ---- words ---------------------------------------------------------------------------------------- */

/* Bytes to glyph numbers, one a character; returns how many. Long texts keep their first and last MAX_TEXT. */
static size_t to_glyphs(unsigned char *out, size_t room, const char *s, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int size = vlk_utf8_next(s + i, n - i, &cp);
        i += size > 0 ? (size_t)size : 1;
        if (len == room) { /* the middle goes: the second half moves down by one */
            memmove(out + room / 2, out + room / 2 + 1, room - room / 2 - 1);
            len--;
        }
        out[len++] = (unsigned char)(size > 0 && cp >= VLK_FONT_FIRST && cp < 127 ? cp - VLK_FONT_FIRST : VLK_FONT_BOX);
    }
    return len;
}

/* Draws at most `width` glyphs; the middle of longer texts becomes "..". */
static void write_text(sheet *s, size_t x, size_t y, size_t width, const char *text, size_t n, colour c, int bold)
{
    unsigned char g[2 * MAX_TEXT];
    size_t len = to_glyphs(g, sizeof g, text, n);
    if (len > width && width >= 2) {
        size_t left = (width - 2) / 2, right = width - 2 - left;
        memmove(g + left + 2, g + len - right, right);
        g[left] = g[left + 1] = '.' - VLK_FONT_FIRST;
        len = width;
    }
    for (size_t i = 0; i < len; i++) {
        glyph(s, x + i * VLK_FONT_W, y, g[i], c);
        if (bold)
            glyph(s, x + i * VLK_FONT_W + 1, y, g[i], c);
    }
}

/* ---- places --------------------------------------------------------------------------------------- */

static void cell_at(const sheet *s, size_t row, size_t cell, size_t *x, size_t *y)
{
    *x = MARGIN + cell % s->columns * (SHEET_THUMB + 2 + GAP);
    *y = s->top[row] + HEADING_H + cell / s->columns * (CELL_H + GAP);
}

static size_t row_height(const sheet *s, size_t row)
{
    size_t lines = (s->cells[row] + s->columns - 1) / s->columns;
    return HEADING_H + (lines ? lines * (CELL_H + GAP) - GAP : VLK_FONT_H + GAP) + ROW_GAP;
}

sheet *sheet_new(const char *title, const size_t *cells, size_t rows, size_t columns, vlk_err *err)
{
    sheet *s = vlk_calloc(1, sizeof *s, err);
    size_t most = MIN_COLUMNS;
    if (!s)
        return NULL;
    s->rows = rows;
    if (!(s->top = vlk_calloc(rows + 1, sizeof *s->top, err)) ||
        !(s->cells = vlk_calloc(rows + 1, sizeof *s->cells, err)))
        goto fail;
    for (size_t i = 0; i < rows; i++) {
        s->cells[i] = cells[i];
        most = cells[i] > most ? cells[i] : most;
    }
    s->columns = most < columns ? most : columns;
    s->w = 2 * MARGIN + s->columns * (SHEET_THUMB + 2 + GAP) - GAP;
    s->h = MARGIN + TITLE_H;
    for (size_t i = 0; i < rows; i++) {
        s->top[i] = s->h;
        s->h += row_height(s, i);
        if (s->h > MAX_PIXELS / s->w) {
            vlk_fail(err, VLK_ELIMIT,
                     "contact sheet: %zu queries with up to %zu images each are more than fit into "
                     "%u pixels; fewer queries, or a smaller -k",
                     rows, most, MAX_PIXELS);
            goto fail;
        }
    }
    s->h += MARGIN - ROW_GAP;
    if (!(s->rgb = vlk_calloc(s->w * s->h, 3, err)))
        goto fail;
    fill(s, 0, 0, s->w, s->h, PAGE);
    write_text(s, MARGIN, MARGIN - 8, (s->w - 2 * MARGIN) / VLK_FONT_W, title, strlen(title), FAINT, 0);
    return s;
fail:
    sheet_free(s);
    return NULL;
}

void sheet_free(sheet *s)
{
    if (!s)
        return;
    free(s->rgb);
    free(s->top);
    free(s->cells);
    free(s);
}

const uint8_t *sheet_pixels(const sheet *s, size_t *w, size_t *h)
{
    *w = s->w;
    *h = s->h;
    return s->rgb;
}

void sheet_heading(sheet *s, size_t row, const char *text, size_t n)
{
    size_t y = s->top[row], width = s->w - 2 * MARGIN;
    write_text(s, MARGIN, y, width / VLK_FONT_W, text, n, INK, 1);
    fill(s, MARGIN, y + VLK_FONT_H + 5, width, 1, LINE);
    if (s->cells[row] == 0)
        write_text(s, MARGIN, y + HEADING_H, width / VLK_FONT_W, "no match", 8, FAINT, 0);
}

/* How much of a key goes into the first of its two lines: all that fits, else up to its last slash (the folder loses
 * its middle if it must), else what fits. */
static size_t first_line(const char *key, size_t n, size_t width)
{
    size_t slash = n;
    if (n <= width)
        return n;
    while (slash > 0 && key[slash - 1] != '/')
        slash--;
    if (slash > 0 && slash < n)
        return slash;
    slash = width;
    while (slash > 1 && ((unsigned char)key[slash] & 0xc0) == 0x80) /* not within a character */
        slash--;
    return slash;
}

void sheet_label(sheet *s, size_t row, size_t cell, const char *score, const char *key, size_t n)
{
    char rank[24];
    size_t x, y, len, width = (SHEET_THUMB + 2) / VLK_FONT_W;
    cell_at(s, row, cell, &x, &y);
    y += SHEET_THUMB + 2 + 6;
    len = 0;
    for (size_t v = cell + 1; v && len < sizeof rank; v /= 10)
        rank[sizeof rank - ++len] = (char)('0' + v % 10);
    write_text(s, x, y, width, rank + sizeof rank - len, len, ACCENT, 1);
    write_text(s, x + (len + 1) * VLK_FONT_W, y, width - len - 1, score, strlen(score), INK, 0);
    for (size_t line = 1; line <= 2 && n > 0; line++) {
        size_t take = line == 1 ? first_line(key, n, width) : n;
        write_text(s, x, y + line * (VLK_FONT_H + 3), width, key, take, FAINT, 0);
        key += take;
        n -= take;
    }
}

void sheet_image(sheet *s, size_t row, size_t cell, const uint8_t *rgb)
{
    size_t x, y;
    cell_at(s, row, cell, &x, &y);
    frame(s, x, y, SHEET_THUMB + 2, SHEET_THUMB + 2, LINE);
    for (size_t j = 0; j < SHEET_THUMB; j++)
        memcpy(s->rgb + ((y + 1 + j) * s->w + x + 1) * 3, rgb + j * SHEET_THUMB * 3, (size_t)SHEET_THUMB * 3);
}

void sheet_missing(sheet *s, size_t row, size_t cell, const char *why)
{
    enum { WIDTH = (SHEET_THUMB - 8) / VLK_FONT_W, LINES = 6 };
    size_t x, y, n = strlen(why), line = 0;
    cell_at(s, row, cell, &x, &y);
    fill(s, x, y, SHEET_THUMB + 2, SHEET_THUMB + 2, GONE);
    frame(s, x, y, SHEET_THUMB + 2, SHEET_THUMB + 2, LINE);
    for (size_t i = 1; i <= SHEET_THUMB; i++) {
        dot(s, x + i, y + i, CROSS);
        dot(s, x + i, y + SHEET_THUMB + 1 - i, CROSS);
    }
    while (n > 0 && line < LINES) { /* words, wrapped; the last line loses its middle */
        size_t take = n < WIDTH ? n : WIDTH;
        if (line + 1 == LINES)
            take = n;
        else if (n > WIDTH)
            for (size_t i = WIDTH; i > WIDTH / 2; i--)
                if (why[i] == ' ') {
                    take = i;
                    break;
                }
        size_t ty = y + 10 + line * (VLK_FONT_H + 4), w = take < WIDTH ? take : WIDTH;
        fill(s, x + 4, ty - 1, w * VLK_FONT_W + 2, VLK_FONT_H + 1, GONE);
        write_text(s, x + 5, ty, WIDTH, why, take, INK, 0);
        why += take;
        n -= take;
        while (n > 0 && *why == ' ') {
            why++;
            n--;
        }
        line++;
    }
}
