/* sheet.h - a contact sheet: one heading per query, under it the best images as thumbnails, each with its rank, score
 * and key. Knows nothing of models and corpora: it is given small RGB images and words. */
#ifndef VLK_SHEET_H
#define VLK_SHEET_H

#include "../../lib/base/base.h"

#define SHEET_THUMB 136 /* width and height of a thumbnail in pixels */

typedef struct sheet sheet;
/* Room for `rows` headings with cells[i] images each, at most `columns` side by side. VLK_ELIMIT when the image
 * would have more than 100 million pixels. */
sheet *sheet_new(const char *title, const size_t *cells, size_t rows, size_t columns, vlk_err *err) VLK_MUST_USE;
void sheet_free(sheet *s);
/* Texts are UTF-8 or any bytes; what is not ASCII is drawn as a box. Too long ones lose their middle. */
void sheet_heading(sheet *s, size_t row, const char *text, size_t n);
/* Both lines under a thumbnail. */
void sheet_label(sheet *s, size_t row, size_t cell, const char *score, const char *key, size_t n);
/* The thumbnail: SHEET_THUMB x SHEET_THUMB x 3 bytes. */
void sheet_image(sheet *s, size_t row, size_t cell, const uint8_t *rgb);
/* Instead of an image: a crossed box and the reason. */
void sheet_missing(sheet *s, size_t row, size_t cell, const char *why);
/* The pixels, (h,w,3); borrowed. */
const uint8_t *sheet_pixels(const sheet *s, size_t *w, size_t *h);

#endif
