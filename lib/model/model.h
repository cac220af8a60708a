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

typedef enum vlk_family { VLK_CLIP, VLK_SIGLIP } vlk_family;
typedef enum vlk_dialect { VLK_DIALECT_HF, VLK_DIALECT_OPENAI, VLK_DIALECT_OPEN_CLIP } vlk_dialect;

/* The size of one tower, as --info prints it. */
typedef struct vlk_tower_info {
    const char *kind;                                /* "vit", "resnet", "text" */
    size_t width, layers, heads, mlp, patch, tokens; /* tokens: of an image; of the context */
    const char *activation;
    size_t parameters;
} vlk_tower_info;

typedef struct vlk_model_info {
    vlk_family family;
    vlk_dialect dialect;
    const char *path; /* the folder or file it was found at */
    size_t embed_dim; /* E */
    size_t image_w, image_h;
    size_t context, vocab;
    float logit_scale;  /* exp of what is stored */
    float logit_bias;   /* SigLIP; 0 */
    int has_logit_bias; /* scores are sigmoids then */
    char id[65];        /* of configs, tensor headers, file sizes, first 4 KiB of each tensor */
    vlk_tower_info image, text;
    vlk_preprocess preprocess;
    size_t weight_bytes_image, weight_bytes_text; /* as stored */
} vlk_model_info;

typedef struct vlk_model_options {
    const char *arch;          /* --arch NAME|FILE, or NULL */
    const char *share;         /* the folder of installed models (…/share/vlkit), or NULL */
    int want_image, want_text; /* the towers that will run; images need a preprocessing, else it is not asked for */
    size_t image_size;         /* a ViT for images of another size: its position table is interpolated; 0: its own */
} vlk_model_options;

typedef struct vlk_model vlk_model;
/* Binds every tensor by name, shape and type; refuses what does not fit with the tensor's name, expected
 * and found. Reads no weights. NULL name: the model that ships. */
vlk_model *vlk_model_open(const char *name, const vlk_model_options *opt, vlk_err *err) VLK_MUST_USE;
void vlk_model_close(vlk_model *m);
const vlk_model_info *vlk_model_describe(const vlk_model *m);
/* The tokenizer, opened at the first call (SigLIP: refused with the reason). Borrowed. */
vlk_bpe *vlk_model_tokenizer(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* The SHA-256 of every byte of the weights files, for --explain. */
int vlk_model_hash(const vlk_model *m, char hex[65], vlk_err *err) VLK_MUST_USE;
/* Appends the model as JSON (--info). */
int vlk_model_json(const vlk_model *m, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Gives back the pages of the weights that were used, by all threads. Before vlk_model_close it halves what unmapping
 * takes (15 ms for 340 MB by one thread); the model can still be used. */
void vlk_model_release(vlk_model *m, vlk_kernel *k);

/* Images (B,H,W,3) u8 to embeddings out (B,E), l2-normalised if asked. The arena of the pass's tape is reset to
 * where it was (unless it records). -1: weights that are not finite (named), no memory. */
int vlk_model_encode_images(vlk_model *m, const vlk_pass *p, float *out, const uint8_t *pixels, size_t b, int normalize,
                            vlk_err *err) VLK_MUST_USE;
/* The same from normalised pixels (B,3,H,W) f32. */
int vlk_model_encode_pixels(vlk_model *m, const vlk_pass *p, float *out, const float *pixels, size_t b, int normalize,
                            vlk_err *err) VLK_MUST_USE;
/* Texts packed behind one another: ids of text i are ids[start[i]] .. ids[start[i+1]-1], start has B+1 entries.
 * Causal towers may be given real lengths; SigLIP's need the whole context. */
/* Each text is computed up to the row that its model pools; one without an end token is refused (VLK_EUSAGE), one
 * longer than the context too (VLK_ELIMIT). */
int vlk_model_encode_texts(vlk_model *m, const vlk_pass *p, float *out, const int32_t *ids, const size_t *start,
                           size_t b, int normalize, vlk_err *err) VLK_MUST_USE;
/* All rows of the text tower behind its last norm, out (start[b],D). `cache` is one vlk_kv a layer, whose texts go on
 * where they stand; NULL: from the start. A pass at once = token by token with the cache, bit for bit. */
int vlk_model_text_states(vlk_model *m, const vlk_pass *p, float *out, const int32_t *ids, const size_t *start,
                          size_t b, vlk_kv *cache, vlk_err *err) VLK_MUST_USE;

/* The i-th parameter, in the order of the towers (image first), or NULL behind the last. For a list of what is trained:
 * a parameter takes a gradient once its `grad` is set. Views of one tensor (q, k, v of a stacked matrix) follow each
 * other. */
vlk_param *vlk_model_param(vlk_model *m, size_t i);

/* ---- training (train.c, init.c) ------------------------------------------------------------------- */

/* A tensor as it is saved, and where its numbers are. `value` is ours, f32, dense in the shape `dim`. */
typedef struct vlk_param_ref {
    const char *name;    /* Hugging Face's, or open_clip's where the model has no such form (see trainable options) */
    float *value, *grad; /* grad: zeroed at first, added to by backward; NULL: frozen */
    size_t dim[VLK_MAX_RANK], count;
    int rank;
    int decay;        /* two dimensions and more, no norm, bias or logit_scale: open_clip's rule */
    const char *part; /* the part of the model that it belongs to: "vision", "text"; "head": logit_scale, logit_bias */
    int statistic;    /* measured, not learned: batch norm's running mean and variance */
} vlk_param_ref;

/* What stays as it is. Groups count from the output, as open_clip's do: ViT 1 projection, 2 last block and last norm,
 * then a block each, at last the embeddings; texts alike; ResNet 1 attention pool, 2 layer4 ... 5 layer1, 6 stem. */
typedef struct vlk_trainable_options {
    int lock_image, lock_text;
    size_t unlocked_image, unlocked_text; /* so many last groups of a locked tower are trained */
    int open_clip;  /* names, shapes and layout of open_clip (q, k, v stacked, projections turned) where there is a
                       choice */
    int logit_bias; /* the model gets a logit bias (SigLIP's loss) if it has none */
} vlk_trainable_options;

/* Moves all weights to f32 copies of ours, to which the model's parameters then point, and lists them: image tower,
 * text tower, logit_scale, logit_bias. A model that is to be saved in another layout than it came in prepares its
 * images and texts as that one's readers do from then on, since that is how it will be read. Once a model. The list
 * lives as long as the model. Names are open_clip's in any case where Hugging Face's CLIPModel has no form (a ResNet, a
 * logit bias); *open_clip (may be NULL) says which were taken. */
int vlk_model_trainable(vlk_model *m, const vlk_trainable_options *o, const vlk_param_ref **ref, size_t *n,
                        int *open_clip, vlk_err *err) VLK_MUST_USE;
/* What is saved beside the parameters: how many batches a batch norm was trained on (torch's num_batches_tracked, an
 * int64 scalar), as the checkpoint had it, counted up by the towers. None without batch norm. Lives as long as the
 * model; *n may be 0. */
typedef struct vlk_counter_ref {
    const char *name;
    const int64_t *value;
} vlk_counter_ref;
const vlk_counter_ref *vlk_model_counters(const vlk_model *m, size_t *n);
/* Appends the open_clip_config.json of a model: for one that is saved in that layout. */
int vlk_model_open_clip_config(const vlk_model *m, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Appends a file of Hugging Face's layout, for a trainable model that came in another one: "config.json",
 * "preprocessor_config.json", "tokenizer_config.json", "vocab.json", "merges.txt". */
int vlk_model_hf_file(const vlk_model *m, const char *name, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* After values have changed: what was made from them is forgotten, and logit_scale and logit_bias are read anew. */
void vlk_model_updated(vlk_model *m);
/* logit_scale and logit_bias as parameters (1): bias is NULL where the model has none. Once trainable. */
vlk_param *vlk_model_log_scale(vlk_model *m);
vlk_param *vlk_model_logit_bias(vlk_model *m);

/* Images that a step is best cut into: what a block writes for so many is still in the cache when it is read again.
 * SIZE_MAX where a batch must stay whole (batch norm). */
size_t vlk_model_piece(const vlk_model *m);

/* Images and texts to raw embeddings (B,E) on the tape, which may record; NULL with the tape failed. As
 * vlk_model_encode_* otherwise, but all at once. */
vlk_var *vlk_model_images(vlk_model *m, const vlk_pass *p, const uint8_t *pixels, size_t b);
vlk_var *vlk_model_pixels(vlk_model *m, const vlk_pass *p, const float *pixels, size_t b);
vlk_var *vlk_model_texts(vlk_model *m, const vlk_pass *p, const int32_t *ids, const size_t *start, size_t b);

/* A new model from a config file (Hugging Face's or open_clip's fields). The tokenizer is looked for in `folder`, NULL:
 * beside the config; merges.txt alone will do. preprocessor_config.json is the one beside the config, else that of
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
