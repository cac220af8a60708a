/* list_coco.c - COCO's captions and Karpathy's splits: one object that contains tables.
 *
 *   COCO      {"images": [{"id", "file_name"}...], "annotations": [{"image_id", "caption"}...]}    one row per
 * annotation Karpathy  {"images": [{"filepath", "filename", "sentences": [{"raw"}...]}...]}                 one row per
 * image
 *
 * The images table is kept (id and name, hashed by id); everything else streams. Annotations that come before the
 * images are kept, too. Without annotations, the images are the rows. Lin et al., "Microsoft COCO" (2014); Karpathy and
 * Fei-Fei, "Deep Visual-Semantic Alignments" (2015). */
#include "list_internal.h"

#include <stdlib.h>
#include <string.h>

typedef enum { AT_START, AT_KEY, IN_IMAGES, IN_ANNOTATIONS, GIVE_HELD, GIVE_IMAGES, AT_END } place;

typedef struct entry {
    size_t id, path; /* offsets into names */
    vlk_row_place at;
} entry;

typedef struct held_head {
    vlk_row_place at;
    size_t size;
} held_head;

struct list_coco {
    place at;
    size_t number; /* of elements of the current array */
    int keys;      /* members of the object seen */
    int images, annotations, rows;
    vlk_buf names;
    entry *entry;
    size_t count, cap;
    size_t *slot; /* index + 1 into entry; 0 is free */
    size_t slots;
    uint64_t seed; /* of its hash */
    vlk_buf held;  /* annotations before the images: a held_head each, and its bytes */
    size_t next;   /* of held or entry, not yet returned */
    vlk_buf id;
    vlk_row row;
};

void list_coco_free(list_coco *c)
{
    if (!c)
        return;
    vlk_buf_clear(&c->names);
    vlk_buf_clear(&c->held);
    vlk_buf_clear(&c->id);
    vlk_row_clear(&c->row);
    free(c->entry);
    free(c->slot);
    free(c);
}

/* An id as text into c->id: numbers as they are, strings after a quote. 1, 2, -1. */
static int read_id(const vlk_list *l, const vlk_json *v, const char *what, vlk_err *err)
{
    list_coco *c = l->coco;
    char found[80];
    int64_t number;
    const char *s = vlk_json_str(v, NULL);
    c->id.len = 0;
    if (s)
        return vlk_buf_addf(&c->id, err, "\"%s", s) == 0 ? 1 : -1;
    if (vlk_json_int(v, INT64_MIN, INT64_MAX, &number, what, NULL))
        return list_fail(l, err, 2, VLK_EFORMAT, "%s: expected a whole number or a string, found %s", what,
                         vlk_json_describe(v, found, sizeof found));
    return vlk_buf_addf(&c->id, err, "%lld", (long long)number) == 0 ? 1 : -1;
}

/* The slot of c->id: that of the entry, or a free one. */
static size_t slot_of(const list_coco *c, const char *id)
{
    size_t i = (size_t)vlk_table_hash(c->seed, id, strlen(id)) & (c->slots - 1);
    while (c->slot[i] != 0 && strcmp(c->names.data + c->entry[c->slot[i] - 1].id, id) != 0)
        i = (i + 1) & (c->slots - 1);
    return i;
}

static int grow(list_coco *c, vlk_err *err)
{
    if (c->count * 2 < c->slots)
        return 0;
    size_t slots = c->slots ? c->slots * 2 : 1024;
    size_t *fresh = vlk_calloc(slots, sizeof *fresh, err);
    if (!fresh)
        return -1;
    free(c->slot);
    c->slot = fresh;
    c->slots = slots;
    for (size_t i = 0; i < c->count; i++)
        c->slot[slot_of(c, c->names.data + c->entry[i].id)] = i + 1;
    return 0;
}

/* An element of "images": 0 added to the table; 1 a row of its own; 2, -1. */
static int image(vlk_list *l, vlk_row *row, int bytes, const vlk_json *v, vlk_err *err)
{
    list_coco *c = l->coco;
    int sentences = vlk_json_get(v, "sentences") != NULL;
    int rc = list_json_row(l, sentences ? row : &c->row, v, err);
    if (rc != 1 || sentences)
        return rc;
    if (bytes)
        list_bytes_show(&c->row.path);
    rc = read_id(l, vlk_json_get(v, "id"), "id of an image", err);
    if (rc != 1)
        return rc;
    if (grow(c, err) || vlk_grow(&c->entry, &c->cap, c->count + 1, sizeof *c->entry, err))
        return -1;
    size_t slot = slot_of(c, c->id.data);
    if (c->slot[slot] != 0)
        return list_fail(l, err, 2, VLK_EFORMAT, "the image id %s is not unique", c->id.data);
    entry *e = &c->entry[c->count];
    e->at = l->at;
    e->id = c->names.len;
    if (vlk_buf_add(&c->names, c->id.data, c->id.len + 1, err))
        return -1;
    e->path = c->names.len;
    if (vlk_buf_add(&c->names, c->row.path.data, c->row.path.len + 1, err))
        return -1;
    c->slot[slot] = ++c->count;
    return 0;
}

/* An element of "annotations": 1, 2, -1. */
static int annotation(vlk_list *l, vlk_row *row, const vlk_json *v, vlk_err *err)
{
    list_coco *c = l->coco;
    char found[80];
    size_t n;
    int rc = read_id(l, vlk_json_get(v, "image_id"), "image_id of an annotation", err);
    if (rc != 1)
        return rc;
    size_t slot = c->slots ? c->slot[slot_of(c, c->id.data)] : 0;
    if (slot == 0)
        return list_fail(l, err, 2, VLK_EFORMAT, "image_id %s is not among the images", c->id.data);
    const char *path = c->names.data + c->entry[slot - 1].path;
    const char *caption = vlk_json_str(vlk_json_get(v, l->want.text ? l->want.text : "caption"), &n);
    if (!caption)
        return list_fail(
            l, err, 2, VLK_EFORMAT, "an annotation without a caption: found %s",
            vlk_json_describe(vlk_json_get(v, l->want.text ? l->want.text : "caption"), found, sizeof found));
    rc = list_row_path(l, row, path, strlen(path), err);
    return rc == 1 ? list_row_caption(l, row, caption, n, err) : rc;
}

/* l->text is an element of the current table. 0 nothing to return yet; 1, 2, -1. */
static int element(vlk_list *l, vlk_row *row, int is_image, vlk_err *err)
{
    int bytes, rc;
    vlk_json *v = list_json_parse(l, &bytes, &rc, err);
    if (!v)
        return rc;
    rc = is_image ? image(l, row, bytes, v, err) : annotation(l, row, v, err);
    vlk_json_free(v);
    if (rc == 1 && bytes)
        rc = list_json_bytes(l, row, err);
    l->coco->rows |= rc == 1;
    return rc;
}

static int hold_annotation(vlk_list *l, vlk_err *err)
{
    held_head head = {l->at, l->text.len};
    if (vlk_buf_add(&l->coco->held, &head, sizeof head, err))
        return -1;
    return vlk_buf_add(&l->coco->held, l->text.data, l->text.len, err);
}

/* The next element of images or annotations. 0: continue. */
static int table(vlk_list *l, list_json *j, vlk_row *row, vlk_err *err)
{
    list_coco *c = l->coco;
    int rc = list_json_element(j, &c->number, c->at == IN_IMAGES ? "images" : "annotations", err);
    if (rc < 0)
        return -1;
    if (rc == 0) {
        c->at = AT_KEY;
        return 0;
    }
    rc = list_json_value(j, &l->text, err);
    if (rc != 0)
        return rc;
    if (c->at == IN_ANNOTATIONS && !c->images)
        return hold_annotation(l, err);
    return element(l, row, c->at == IN_IMAGES, err);
}

/* The object has ended: returns what is left. */
static int closed(vlk_list *l, list_json *j, vlk_err *err)
{
    list_coco *c = l->coco;
    if (list_json_end(j, err))
        return -1;
    if (!c->images)
        return list_fail(l, err, -1, VLK_EFORMAT, "expected an object with images and annotations, as in COCO");
    c->at = c->held.len ? GIVE_HELD : c->annotations || c->rows ? AT_END : GIVE_IMAGES;
    return 0;
}

/* The next member of the object: steps into a table or over anything else. */
static int member(vlk_list *l, list_json *j, vlk_err *err)
{
    list_coco *c = l->coco;
    int ch = list_json_peek(j, err);
    if (ch == '}') {
        list_json_skip(j);
        return closed(l, j, err);
    }
    if (c->keys++ > 0 && ch == ',') {
        list_json_skip(j);
        ch = list_json_peek(j, err);
    } else if (c->keys > 1 && ch != -2) {
        return list_fail(l, err, -1, VLK_EFORMAT,
                         ch < 0 ? "the list is truncated: it ends without its closing brace" : "expected a comma");
    }
    if (ch != '"')
        return ch == -2 ? -1 : list_fail(l, err, -1, VLK_EFORMAT, "expected the name of a member");
    if (list_json_value(j, &l->text, err))
        return -1;
    int images = strcmp(l->text.data, "\"images\"") == 0, annotations = strcmp(l->text.data, "\"annotations\"") == 0;
    ch = list_json_peek(j, err);
    if (ch != ':')
        return ch == -2 ? -1 : list_fail(l, err, -1, VLK_EFORMAT, "expected a colon");
    list_json_skip(j);
    ch = list_json_peek(j, err);
    if (ch < 0)
        return ch == -2 ? -1 : list_fail(l, err, -1, VLK_EFORMAT, "the list is truncated: expected a value");
    if (!images && !annotations)
        return list_json_value(j, NULL, err);
    if ((images && c->images) || (annotations && c->annotations))
        return list_fail(l, err, -1, VLK_EFORMAT, "there is a second list of %s", images ? "images" : "annotations");
    c->images |= images;
    c->annotations |= annotations;
    c->at = images ? IN_IMAGES : IN_ANNOTATIONS;
    c->number = 0;
    return 0;
}

static int return_held(vlk_list *l, vlk_row *row, vlk_err *err)
{
    list_coco *c = l->coco;
    held_head head;
    if (c->next == c->held.len) {
        c->at = AT_END;
        return 0;
    }
    memcpy(&head, c->held.data + c->next, sizeof head);
    l->text.len = 0;
    if (vlk_buf_add(&l->text, c->held.data + c->next + sizeof head, head.size, err))
        return -1;
    c->next += sizeof head + head.size;
    l->at = head.at;
    return element(l, row, 0, err);
}

static int return_image(vlk_list *l, vlk_row *row, vlk_err *err)
{
    list_coco *c = l->coco;
    if (c->next == c->count) {
        c->at = AT_END;
        return 0;
    }
    const entry *e = &c->entry[c->next++];
    const char *path = c->names.data + e->path;
    l->at = e->at;
    return list_row_path(l, row, path, strlen(path), err);
}

int list_coco_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    list_json *j = list_json_open(l, err);
    if (!j)
        return -1;
    if (!l->coco) {
        if (!(l->coco = vlk_calloc(1, sizeof *l->coco, err)))
            return -1;
        l->coco->seed = vlk_table_seed();
    }
    int rc = 0;
    while (rc == 0) {
        switch (l->coco->at) {
        case AT_START: /* the brace was seen already */
            (void)list_json_peek(j, err);
            list_json_skip(j);
            l->coco->at = AT_KEY;
            break;
        case AT_KEY:
            rc = member(l, j, err);
            break;
        case IN_IMAGES:
        case IN_ANNOTATIONS:
            rc = table(l, j, row, err);
            break;
        case GIVE_HELD:
            rc = return_held(l, row, err);
            break;
        case GIVE_IMAGES:
            rc = return_image(l, row, err);
            break;
        case AT_END:
            return 0;
        }
    }
    return rc;
}
