/* model.h - a loaded model: towers, config, tokenizer and preprocessing, from any dialect of checkpoint.
 *
 * -m NAME is a folder in Hugging Face or open_clip layout, a weights file (OpenAI's archive, a training
 * checkpoint, a bare state dict with a config beside it or --arch), the name of an installed model, or
 * org/name in an existing Hugging Face cache. Nothing is ever fetched. */
#ifndef VLK_MODEL_H
#define VLK_MODEL_H

#include "../base/base.h"
#include "../ops/ops.h"
#include "../prep/prep.h"
#include "../stream/stream.h"
#include "../tower/tower.h"

/* Whose folder a model came in, and so how its images and texts are prepared. */
typedef enum vlk_layout { VLK_LAYOUT_HF, VLK_LAYOUT_OPENAI, VLK_LAYOUT_OPEN_CLIP } vlk_layout;

/* What a model can do. */
enum {
    VLK_CAN_EMBED_IMAGE = 1,
    VLK_CAN_EMBED_TEXT = 2,
    VLK_CAN_MATCH = 4,
    VLK_CAN_CAPTION = 8,
    VLK_CAN_ANSWER = 16,
    VLK_CAN_QUERY = 32,
    VLK_CAN_ANY = 1 << 30 /* among what is wanted: one of the others is enough */
};

/* What a part of a model does by itself. Programs ask for a part by these, since its name is its family's. */
enum {
    VLK_SEES_IMAGES = 1, /* images to embeddings */
    VLK_READS_TEXTS = 2  /* texts to embeddings */
};

/* A network of the model, as --info prints it. */
typedef struct vlk_part_info {
    const char *name;  /* its family's: CLIP's are "vision" and "text" */
    const char *title; /* for people: "image" and "text" for the first part that sees images or reads texts; its name */
    const char *kind;  /* "vit", "resnet", "text" */
    unsigned does;     /* VLK_SEES_IMAGES ... */
    const char *activation;
    size_t width, layers, heads, mlp, patch, tokens, vocab; /* tokens: of an image; of the context */
    size_t parameters, bytes;                               /* bytes: of its weights as stored */
} vlk_part_info;

typedef struct vlk_model_info {
    const char *family; /* "clip", "siglip" */
    vlk_layout layout;
    unsigned can;     /* VLK_CAN_ bits */
    const char *path; /* the folder or file it was found at */
    size_t embed_dim; /* E */
    size_t image_w, image_h;
    size_t context, vocab;
    float logit_scale;  /* exp of what is stored */
    float logit_bias;   /* SigLIP; 0 */
    int has_logit_bias; /* scores are sigmoids then */
    char id[65];        /* of configs, tensor headers, file sizes, first 4 KiB of each tensor */
    vlk_preprocess preprocess;
    const vlk_part_info *part;
    size_t parts;
} vlk_model_info;
/* The first part that does this, which is the one that embeds; or NULL. */
const vlk_part_info *vlk_model_part_that(const vlk_model_info *i, unsigned does);

typedef struct vlk_model_options {
    const char *arch;  /* --arch NAME|FILE, or NULL */
    const char *share; /* the folder of installed models (share/vlkit), or NULL */
    unsigned want;     /* VLK_CAN_ bits that will be used: a model without one of them is refused. Where images are not
                        * wanted, a folder that does not describe them is not an error */
    size_t image_size; /* a ViT for images of another size: its position table is interpolated; 0: its own */
} vlk_model_options;

typedef struct vlk_model vlk_model;
/* Binds every tensor by name, shape and type; refuses what does not fit with the tensor's name, expected
 * and found. Reads no weights. */
vlk_model *vlk_model_open(const char *name, const vlk_model_options *opt, vlk_err *err) VLK_MUST_USE;
void vlk_model_close(vlk_model *m);
const vlk_model_info *vlk_model_describe(const vlk_model *m);
/* The tokenizer of the part that reads texts, opened at the first call (SigLIP: refused with the reason). Borrowed. */
vlk_tokenizer *vlk_model_tokenizer(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* The SHA-256 of every byte of the weights files, for --explain. */
int vlk_model_hash(const vlk_model *m, char hex[65], vlk_err *err) VLK_MUST_USE;
/* Appends the model as JSON (--info). */
int vlk_model_json(const vlk_model *m, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Gives back the pages of the weights that were used, by all threads. Before vlk_model_close it halves what unmapping
 * takes (15 ms for 340 MB by one thread); the model can still be used. */
void vlk_model_release(vlk_model *m, vlk_kernel *k);

/* The length of the embeddings that are given. */
typedef enum vlk_length {
    VLK_RAW, /* embeddings as the projection gives them */
    VLK_UNIT /* of length 1 */
} vlk_length;

/* Token ids of n texts, one text after another: those of text i are id[start[i]] .. id[start[i+1]-1]. Causal towers may
 * be given real lengths; SigLIP's need the whole context. Each text is computed up to the row that its model pools; one
 * without an end token is refused (VLK_EUSAGE), one longer than the context too (VLK_ELIMIT). */
typedef struct vlk_id_texts {
    const int32_t *id;
    const size_t *start; /* (n + 1) */
    size_t n;
} vlk_id_texts;

/* Images to embeddings out (B,E), in pieces that fit into a fixed budget. Of `images` b and u8 or f32 are given: sizes
 * and levels are the model's. The arena of the pass's tape is reset to where it was (unless it records). -1: weights
 * that are not finite (named), no memory. */
int vlk_model_encode_images(vlk_model *m, const vlk_pass *p, float *out, const vlk_images *images, vlk_length length,
                            vlk_err *err) VLK_MUST_USE;
int vlk_model_encode_texts(vlk_model *m, const vlk_pass *p, float *out, const vlk_id_texts *texts, vlk_length length,
                           vlk_err *err) VLK_MUST_USE;
/* The same on the tape, which may record: all at once, raw (B,E). NULL with the tape failed. */
vlk_var *vlk_model_images(vlk_model *m, const vlk_pass *p, const vlk_images *images);
vlk_var *vlk_model_texts(vlk_model *m, const vlk_pass *p, const vlk_id_texts *texts);
/* All rows of the text tower after its last norm, out (start[n],D). `cache` is one vlk_kv per layer, whose texts are
 * continued; NULL: from their beginning. A pass at once = token by token with the cache, bit for bit. */
int vlk_model_text_states(vlk_model *m, const vlk_pass *p, float *out, const vlk_id_texts *texts, vlk_kv *cache,
                          vlk_err *err) VLK_MUST_USE;
/* How many images a training step is best cut into at a time: what a block writes for them is still in the cache when
 * it is read again. SIZE_MAX where a batch must stay whole (batch norm). */
size_t vlk_model_piece(const vlk_model *m);

/* The i-th parameter, part by part, or NULL after the last. For a list of what is trained: a parameter takes a gradient
 * once its `grad` is set. Views of one tensor (q, k, v of a stacked matrix) follow each other. */
vlk_param *vlk_model_param(vlk_model *m, size_t i);

/* ---- training (train.c, init.c) ------------------------------------------------------------------- */

/* A tensor as it is saved, and where its numbers are: `value` is ours, f32, dense in the shape `dim`. Of a tensor that
 * nothing trains, and that the checkpoint holds under this name and in this shape, there is no copy: `value` is NULL,
 * and `stored` is the tensor of the file, of its type. */
typedef struct vlk_param_ref {
    const char *name;    /* Hugging Face's, or open_clip's where the model has no such form (see trainable options) */
    float *value, *grad; /* grad: zeroed at first, added to by backward; NULL: frozen */
    const vlk_tensor *stored;
    size_t dim[VLK_MAX_RANK], count;
    int rank;
    int decay;        /* two dimensions and more, no norm, bias or logit_scale: open_clip's rule */
    const char *part; /* the part of the model that it belongs to; "head": logit_scale, logit_bias */
    int statistic;    /* measured, not learned: batch norm's running mean and variance */
    int measured;     /* ... and measured here: its batch norm is trained, and takes the statistics of each batch */
} vlk_param_ref;

/* A part that is locked, but for its last `open` groups. Groups count from the output, as open_clip's do: ViT 1
 * projection, 2 last block and last norm, then one for each block, at last the embeddings; texts alike; ResNet 1
 * attention pool, 2 layer4 ... 5 layer1, 6 stem. */
typedef struct vlk_locked_part {
    const char *part;
    size_t open;
} vlk_locked_part;
enum { VLK_LOCKS_MAX = 8 };
typedef struct vlk_trainable_options {
    vlk_locked_part lock[VLK_LOCKS_MAX]; /* ends with part NULL, or with the array */
    vlk_layout layout; /* names, shapes and files of its checkpoints: Hugging Face's where it has a form for the model,
                        * or open_clip's (q, k, v stacked, projections transposed) */
    int copy_stored;   /* what nothing trains is copied too: the checkpoint may be removed while the model lives */
    int logit_bias;    /* the model gets a logit bias (SigLIP's loss) if it has none */
} vlk_trainable_options;

/* Moves the weights that are trained to f32 copies of ours, to which the model's parameters then point, and lists all:
 * part by part, then logit_scale, logit_bias. Frozen weights stay in the file, and what was made of them (packed forms)
 * stays too. Once for a model; the list lives as long as the model. If checkpoints will be saved in another layout than
 * the model came in, its images and texts are prepared from now on as readers of that layout do, so that training sees
 * what they will see. Names are open_clip's in any case where Hugging Face's CLIPModel has no form (a ResNet, a logit
 * bias); *layout (may be NULL) says which were taken. */
int vlk_model_trainable(vlk_model *m, const vlk_trainable_options *o, const vlk_param_ref **ref, size_t *n,
                        vlk_layout *layout, vlk_err *err) VLK_MUST_USE;
/* What is saved beside the parameters: how many batches a batch norm was trained on (torch's num_batches_tracked, an
 * int64 scalar), as the checkpoint had it, counted up by the towers. None without batch norm. Lives as long as the
 * model; *n may be 0. */
typedef struct vlk_counter_ref {
    const char *name;
    const int64_t *value;
} vlk_counter_ref;
const vlk_counter_ref *vlk_model_counters(const vlk_model *m, size_t *n);
/* Takes a file of a folder: its name and bytes. */
typedef int vlk_put_file(void *arg, const char *name, const vlk_buf *bytes, vlk_err *err);
/* The folder that a model is saved in. */
typedef struct vlk_folder_options {
    vlk_layout layout;
    vlk_dtype dtype; /* of its weights: configs that name a type name this one */
} vlk_folder_options;
/* All files of a saved folder apart from weights and tokenizer. A model that came with config files in this layout
 * keeps them, with all members, but for the type of its weights and, if it was opened for another one, the size of its
 * images. Otherwise they are made from the model as it is now. */
int vlk_model_files(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o,
                    vlk_err *err) VLK_MUST_USE;
/* The tokenizer of a Hugging Face folder, made from the merges that are beside the model or installed:
 * tokenizer_config.json, vocab.json, merges.txt. */
int vlk_model_tokenizer_files(const vlk_model *m, vlk_put_file *put, void *arg, vlk_err *err) VLK_MUST_USE;
/* After values have changed: what was made from those that are trained is dropped, and logit_scale and logit_bias are
 * read again. */
void vlk_model_updated(vlk_model *m);
/* logit_scale and logit_bias as parameters (1): bias is NULL where the model has none. Once trainable. */
vlk_param *vlk_model_log_scale(vlk_model *m);
vlk_param *vlk_model_logit_bias(vlk_model *m);

/* A new model from a config file (Hugging Face's or open_clip's fields). The tokenizer is looked for in `folder`, NULL:
 * beside the config; merges.txt alone will do. The preprocessing is the one beside the config, else that of
 * `folder`. Values are drawn from the seed; logit_scale is ln(1/0.07). hf: normal;
 * token, position and patch embeddings 0.02; class embedding w^-0.5; q, k, v w^-0.5 (2L)^-0.5; out w^-0.5; fc1
 * (2w)^-0.5; fc2 w^-0.5 (2L)^-0.5; projections w^-0.5; biases 0; norms 1, 0. openai: as open_clip starts its models,
 * and the only one for ResNets. */
typedef enum vlk_init { VLK_INIT_HF, VLK_INIT_OPENAI } vlk_init;
vlk_model *vlk_model_new_from_config(const char *config, const char *folder, vlk_init init, uint64_t seed,
                                     vlk_err *err) VLK_MUST_USE;
/* The id that such a model would have: of its config files. */
int vlk_model_config_id(const char *config, const char *folder, vlk_init init, char id[65], vlk_err *err) VLK_MUST_USE;

#endif
