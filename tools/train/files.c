/* files.c - the files beside the weights of a checkpoint: the model's configs, which it gives itself, and those of its
 * tokenizer, which are copied from its folder, or made where that has merges only.
 *
 * They are taken when the run begins, since the folder may be gone later, and written into each checkpoint. */
#include "job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20 };

/* ---- reading -------------------------------------------------------------------------------------- */

/* The file of that name, or NULL. */
static train_file *find(train_files *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->f[i].name, name) == 0)
            return &t->f[i];
    return NULL;
}

/* The same, added if it is new. */
static train_file *file_of(train_files *t, const char *name, vlk_err *err)
{
    train_file *f = find(t, name);
    if (f)
        return f;
    f = &t->f[t->n];
    *f = (train_file){.name = vlk_strndup(name, strlen(name), err)};
    if (!f->name)
        return NULL;
    t->n++;
    return f;
}

/* vlk_put_file: takes the place of one that was copied. */
static int take_file(void *arg, const char *name, const vlk_buf *bytes, vlk_err *err)
{
    train_file *f = file_of(arg, name, err);
    if (!f)
        return -1;
    f->bytes.len = 0;
    return vlk_buf_add(&f->bytes, bytes->data, bytes->len, err);
}

static int copy_if_there(train_files *t, const char *folder, const char *name, vlk_err *err)
{
    char *path = vlk_path_join(folder, name, err);
    int rc = path ? 0 : -1;
    if (path && access(path, F_OK) == 0) {
        train_file *f = file_of(t, name, err);
        rc = f ? vlk_read_file(&f->bytes, path, FILE_MAX, err) : -1;
    }
    free(path);
    return rc;
}

/* Of open_clip's tokenizers the merges are all. */
static int copy_tokenizer(train_files *t, const char *folder, vlk_layout layout, vlk_err *err)
{
    static const char *const merges[] = {"merges.txt", "bpe_simple_vocab_16e6.txt.gz", NULL};
    static const char *const others[] = {"tokenizer_config.json",   "vocab.json",        "tokenizer.json",
                                         "special_tokens_map.json", "added_tokens.json", NULL};
    for (const char *const *name = merges; *name; name++)
        if (copy_if_there(t, folder, *name, err))
            return -1;
    for (const char *const *name = others; layout == VLK_LAYOUT_HF && *name; name++)
        if (copy_if_there(t, folder, *name, err))
            return -1;
    return 0;
}

static int take_all(train_files *t, const vlk_model *m, const vlk_folder_options *o, vlk_layout came, vlk_err *err)
{
    const int hf = o->layout == VLK_LAYOUT_HF;
    if (vlk_model_files(m, take_file, t, o, err))
        return -1;
    if (hf && came != VLK_LAYOUT_HF)
        return vlk_model_tokenizer_files(m, take_file, t, err);
    if (copy_tokenizer(t, vlk_model_describe(m)->path, o->layout, err))
        return -1;
    if (!hf || find(t, "vocab.json") || find(t, "tokenizer.json"))
        return 0;
    return vlk_model_tokenizer_files(m, take_file, t, err);
}

int train_files_take(train_files *t, const vlk_model *m, const vlk_folder_options *o, vlk_layout came, vlk_err *err)
{
    *t = (train_files){0};
    if (take_all(t, m, o, came, err) == 0)
        return 0;
    train_files_clear(t);
    return -1;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

int train_files_write(const train_files *t, const char *folder, vlk_err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        char *path = vlk_path_join(folder, t->f[i].name, err);
        vlk_out *o = path ? vlk_out_open(path, err) : NULL;
        free(path);
        if (!o)
            return -1;
        if (vlk_out_write(o, t->f[i].bytes.data, t->f[i].bytes.len, err)) {
            vlk_out_abort(o);
            return -1;
        }
        if (vlk_out_commit(o, err))
            return -1;
    }
    return 0;
}

size_t train_files_bytes(const train_files *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += t->f[i].bytes.len;
    return n;
}

void train_files_clear(train_files *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->f[i].name);
        vlk_buf_clear(&t->f[i].bytes);
    }
    *t = (train_files){0};
}
