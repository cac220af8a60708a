/* model_internal.h - what the files of this folder share: configs, parameters of towers, the binder's table, a place on
 * disk. Letters: B batch, T tokens, D width, E embedding, P patches. */
#ifndef VLK_MODEL_INTERNAL_H
#define VLK_MODEL_INTERNAL_H

#include "model.h"

/* ---- configs: what differs between models is a field here or in tower.h, not a path in the towers ------ */

typedef struct vlk_clip_config {
    vlk_family family;
    size_t embed;
    int has_resnet; /* the image tower is `resnet`, else `vit` */
    vlk_vit_config vit;
    vlk_resnet_config resnet;
    vlk_text_config text;
    int other_tokenizer; /* not CLIP's byte pairs */
    int logit_bias;
} vlk_clip_config;

/* config.c: fields of a JSON object with defaults and bounds; an explicit null is a default. `where` names the object.
 */
typedef struct vlk_fields {
    const vlk_json *over, *base; /* `over` wins where it has the key (text_config_dict); may be NULL */
    const char *where;           /* "config.json: text_config" */
    vlk_err *err;
    int failed;
} vlk_fields;
const vlk_json *vlk_field(const vlk_fields *f, const char *key); /* NULL if absent or null */
size_t vlk_field_size(vlk_fields *f, const char *key, size_t fallback, size_t max);
double vlk_field_num(vlk_fields *f, const char *key, double fallback);
int vlk_field_bool(vlk_fields *f, const char *key, int fallback);
const char *vlk_field_str(vlk_fields *f, const char *key, const char *fallback);
/* Hugging Face's names of activations. */
vlk_act vlk_field_act(vlk_fields *f, const char *key, const char *fallback);
const char *vlk_act_name(vlk_act a);
size_t vlk_config_image(const vlk_clip_config *c); /* side of the image in pixels */
/* What must hold whatever the source: heads divide the width, a patch fits into the image ... */
int vlk_config_check(const vlk_clip_config *c, const char *where, vlk_err *err) VLK_MUST_USE;
#define VLK_DEFAULT_MODEL "clip-emoji-6m"
enum { VLK_MAX_WIDTH = 1 << 16, VLK_MAX_LAYERS = 1 << 10, VLK_MAX_IMAGE = 1 << 14, VLK_MAX_VOCAB = 1 << 24 };

int vlk_config_hf(vlk_clip_config *c, const vlk_json *config, const char *path, vlk_err *err) VLK_MUST_USE;
int vlk_config_open_clip(vlk_clip_config *c, const vlk_json *model_cfg, const char *path, vlk_err *err) VLK_MUST_USE;
int vlk_config_openai(vlk_clip_config *c, const vlk_weights *w, vlk_err *err) VLK_MUST_USE;
/* 1 if the tensors have OpenAI's mix of f16 and f32. */
int vlk_config_is_openai(const vlk_weights *w);
/* An open_clip or OpenAI name. 1 if it is known, 0 if not. */
int vlk_config_arch(vlk_clip_config *c, const char *name);

/* ---- the binder ----------------------------------------------------------------------------------- */

typedef enum vlk_kind {
    VLK_MATRIX,    /* (n,k), stays as stored */
    VLK_TABLE,     /* rows that are picked by id, stays as stored */
    VLK_VECTOR,    /* widened to f32 when its tower is first used */
    VLK_STATISTIC, /* such a vector, but measured, not learned: batch norm's mean and variance */
    VLK_POSITIONS, /* a table that is read as floats: widened too */
    VLK_COUNTER    /* an int64_t, no parameter; 0 where a file has none */
} vlk_kind;
typedef enum vlk_form { VLK_AS_IS, VLK_PART_Q, VLK_PART_K, VLK_PART_V, VLK_TURNED } vlk_form;

/* One row of a family's table. Names: '#' is the layer, '@' the stage. Shapes: a letter a dimension, see vlk_dims. */
typedef struct vlk_spelling {
    const char *name, *shape;
    vlk_form form;
} vlk_spelling;
typedef struct vlk_name {
    const char *ours; /* the field */
    size_t at;        /* offset of the vlk_param (or the counter) in its struct */
    vlk_kind kind;
    unsigned when;      /* VLK_HAS_ bits that must be set */
    vlk_spelling in[2]; /* [0] Hugging Face, [1] OpenAI and open_clip */
} vlk_name;
typedef struct vlk_names {
    const vlk_name *row;
    size_t n;
} vlk_names;
enum {
    VLK_HAS_PATCH_BIAS = 1,
    VLK_HAS_CLASS = 2,
    VLK_HAS_LN_PRE = 4,
    VLK_HAS_PROJ = 8,
    VLK_HAS_PROBE = 16,
    VLK_HAS_PROJ_BIAS = 32,
    VLK_HAS_NO_PROJ_BIAS = 64,
    VLK_HAS_DOWN = 128
};
typedef enum vlk_table {
    VLK_NAMES_BLOCK,
    VLK_NAMES_VIT,
    VLK_NAMES_TEXT,
    VLK_NAMES_STEM,
    VLK_NAMES_BOTTLENECK
} vlk_table;
vlk_names vlk_names_of(vlk_table t);
/* Prefixes of the blocks, by dialect column. */
extern const char *const vlk_vision_block_prefix[2], *const vlk_text_block_prefix[2];

enum { VLK_TOWER_IMAGE, VLK_TOWER_TEXT, VLK_TOWERS };

typedef struct vlk_bound {
    vlk_param *p;
    vlk_kind kind;
    int tower;
    const vlk_name *row; /* what it is, and where: */
    vlk_table table;
    size_t layer, stage;
    size_t dim[2][VLK_MAX_RANK]; /* of the tensor, by dialect column; rank 0: no such name */
    int rank[2];
} vlk_bound;

struct vlk_model {
    vlk_model_info info;
    vlk_clip_config config;
    vlk_arena *arena; /* parameters' structs, widened vectors */
    vlk_weights *weights;
    vlk_vit_w vit;
    vlk_resnet_w resnet;
    vlk_text_w text;
    vlk_bound *bound;
    size_t nbound, cap_bound;
    vlk_counter_ref *counter;
    size_t ncounter, cap_counter;
    int ready[VLK_TOWERS], want[VLK_TOWERS];
    int keys; /* column of the tables: 0 Hugging Face's names, 1 OpenAI's and open_clip's */
    vlk_bpe *bpe;
    char *folder, *share; /* where the tokenizer's files are looked for */
    vlk_buf configs;      /* the bytes of the config files, for the id */
    float table[3][256];  /* level to value, by channel */
    int has_preprocess;
    const char *text_prefix; /* before texts' names in open_clip's spelling: "" or "text." */
    /* training: */
    vlk_param_ref *refs;
    size_t nrefs;
    int open_clip;
    int became_hf;                   /* its tokenizer has merges, no other file of Hugging Face's */
    float scalar[2], scalar_grad[2]; /* logit_scale as stored (always), logit_bias */
    vlk_param scalar_param[2];
};

/* '#' becomes the layer, '@' the stage. */
void vlk_spell(char *out, size_t size, const char *prefix, const char *name, size_t layer, size_t stage);
/* The parts of a stored tensor: rank 2 and above as (n,k); a vector as (1,k); (k,n) read as n by k; a third. */
void vlk_view_form(vlk_weight *w, vlk_kind kind, vlk_form form);
/* The path of OpenAI's merges: beside the model, else installed. free() it. */
int vlk_model_merges(const vlk_model *m, char **path, vlk_err *err) VLK_MUST_USE;
/* Draws all values of a model without weights. */
void vlk_model_draw(vlk_model *m, vlk_init init, uint64_t seed);
/* The position table for images of another size; a ResNet's is a multiple of 32. */
int vlk_model_resize(vlk_model *m, size_t image, vlk_err *err) VLK_MUST_USE;

/* Fills the parameters from the weights; every tensor of the file must be used or be known to mean nothing. */
int vlk_bind(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* Widens vectors and looks for values that are not finite, once a tower. */
int vlk_tower_ready(vlk_model *m, vlk_kernel *k, int tower, vlk_err *err) VLK_MUST_USE;
int vlk_model_id(vlk_model *m, vlk_err *err) VLK_MUST_USE;

/* ---- where a model is ------------------------------------------------------------------------------ */

typedef struct vlk_place {
    char *folder;         /* that holds the weights */
    char *weights;        /* file or index */
    char *hf, *open_clip; /* config.json, open_clip_config.json beside them, or NULL */
} vlk_place;
int vlk_locate(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err) VLK_MUST_USE;
void vlk_place_clear(vlk_place *p);
int vlk_is_file(const char *path);
int vlk_is_folder(const char *path);

#endif
