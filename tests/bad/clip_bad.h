/* clip_bad.h - builds the folders of tests/data/clip-bad: one tiny model, damaged in as many ways as cases.tsv has
 * rows. base/ holds whole files; edits.txt says how each case differs from them:
 *     case NAME               the lines below, up to the next case, are about this one
 *     delete NAME             the file is not there
 *     file NAME               the lines below make this file
 *     copy BASE OFFSET LENGTH bytes of a file of base/
 *     text TEXT               bytes, those that are not printable (and blanks) as \0 and three octal digits
 *     repeat N TEXT           one such byte, N times */
#ifndef CLIP_BAD_H
#define CLIP_BAD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIP_BAD "tests/data/clip-bad"

static const char *const clip_bad_base[] = {
    "config.json",           "merges.txt",       "vocab.json", "preprocessor_config.json",
    "tokenizer_config.json", "model.safetensors"};

/* The bytes of a file, for free(). */
static unsigned char *clip_bad_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *p = (unsigned char *)malloc((size_t)1 << 20);
    *n = 0;
    if (f && p)
        *n = fread(p, 1, (size_t)1 << 20, f);
    if (f)
        fclose(f);
    return p;
}

static int clip_bad_write(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    size_t put = fwrite(p, 1, n, f);
    return fclose(f) == 0 && put == n ? 0 : -1;
}

/* One byte of TEXT; *s moves past it. */
static int clip_bad_byte(const char **s)
{
    int c = (unsigned char)*(*s)++;
    if (c != '\\' || **s != '0')
        return c;
    char digits[4] = {0};
    memcpy(digits, *s + 1, 3);
    *s += 4;
    return (int)strtol(digits, NULL, 8);
}

/* Appends what one line says to f. */
static int clip_bad_line(FILE *f, const char *op, const char *rest)
{
    char name[64], path[128];
    unsigned long a, b;
    if (strcmp(op, "text") == 0) {
        while (*rest && *rest != '\n')
            fputc(clip_bad_byte(&rest), f);
    } else if (strcmp(op, "repeat") == 0) {
        char *text;
        a = strtoul(rest, &text, 10);
        const char *t = text + 1;
        int c = clip_bad_byte(&t);
        while (a-- > 0)
            fputc(c, f);
    } else if (strcmp(op, "copy") == 0 && sscanf(rest, "%63s %lu %lu", name, &a, &b) == 3) {
        size_t n;
        snprintf(path, sizeof path, CLIP_BAD "/base/%s", name);
        unsigned char *p = clip_bad_read(path, &n);
        int ok = p && a + b <= n && fwrite(p + a, 1, b, f) == b;
        free(p);
        return ok ? 0 : -1;
    } else {
        return -1;
    }
    return 0;
}

/* Builds the case in the folder dir (which exists; files of the base in it are replaced). 0 or -1. */
static int clip_bad_make(const char *dir, const char *name)
{
    static const char *const more[] = {"pytorch_model.bin", "model.safetensors.index.json",
                                       "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    char path[256], line[512];
    FILE *out = NULL;
    int status = 0;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, more[i]);
        unlink(path);
    }
    for (size_t i = 0; i < sizeof clip_bad_base / sizeof *clip_bad_base; i++) {
        size_t n;
        snprintf(path, sizeof path, CLIP_BAD "/base/%s", clip_bad_base[i]);
        unsigned char *p = clip_bad_read(path, &n);
        snprintf(path, sizeof path, "%s/%s", dir, clip_bad_base[i]);
        status |= clip_bad_write(path, p, n);
        free(p);
    }
    int mine = 0, seen = 0;
    FILE *in = fopen(CLIP_BAD "/edits.txt", "r");
    while (in && fgets(line, sizeof line, in)) {
        char op[16] = "", file[64] = "";
        int at = 0;
        sscanf(line, "%15s %n", op, &at);
        if (strcmp(op, "case") == 0) {
            sscanf(line + at, "%63s", file);
            mine = strcmp(file, name) == 0;
            seen |= mine;
        } else if (!mine) {
            continue;
        } else if (strcmp(op, "delete") == 0 || strcmp(op, "file") == 0) {
            sscanf(line + at, "%63s", file);
            snprintf(path, sizeof path, "%s/%s", dir, file);
            if (out)
                status |= fclose(out);
            out = NULL;
            if (*op == 'd')
                unlink(path);
            else if (!(out = fopen(path, "wb")))
                status = -1;
        } else if (!out || clip_bad_line(out, op, line + at)) {
            status = -1;
        }
    }
    if (out)
        status |= fclose(out);
    if (in)
        fclose(in);
    return seen ? status : -1;
}

/* Removes the folder and what clip_bad_make put into it. */
static inline void clip_bad_remove(const char *dir)
{
    char path[256];
    clip_bad_make(dir, "bin-is-html"); /* leaves one known extra file */
    for (size_t i = 0; i < sizeof clip_bad_base / sizeof *clip_bad_base; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, clip_bad_base[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    unlink(path);
    rmdir(dir);
}

#endif
