/* zip.c - the members of a mapped zip archive (APPNOTE.TXT), as PyTorch writes them.
 *
 *     local header, data, local header, data ... | central directory | [ZIP64 end, its locator] | end record
 *
 * Names and sizes are taken from the central directory; a local header only tells where its data begins (its name and
 * extra field may be longer: PyTorch aligns data to 64 bytes by padding there). Stricter than zip tools: the directory
 * must directly precede the end record, members may not overlap, and a name may occur only once, so that no two readers
 * can see different files. CRCs are not checked: writers may leave them out. */
#include "weights_internal.h"

#include <stdlib.h>
#include <string.h>

#define END_SIZE 22u
#define END64_SIZE 56u
#define LOCATOR_SIZE 20u
#define ENTRY_SIZE 46u
#define LOCAL_SIZE 30u
#define DEFLATE_RATIO 1032u /* deflate cannot compress better */

typedef struct directory {
    size_t offset, size, count;
} directory;

static uint64_t le(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* The end record: the last position from which its comment reaches exactly to the end of the file. */
static int find_end(const vlk_map *m, size_t *at, const char *path, vlk_err *err)
{
    for (size_t back = END_SIZE; back <= m->size && back <= END_SIZE + 65535u; back++) {
        const unsigned char *p = m->data + m->size - back;
        if (memcmp(p, "PK\x05\x06", 4) == 0 && le(p + 20, 2) == back - END_SIZE) {
            *at = m->size - back;
            return 0;
        }
    }
    return vlk_fail(err, VLK_EFORMAT, "%s: expected a zip archive, found no end record (is it truncated?)", path);
}

static int read_end(directory *d, const vlk_map *m, const char *path, vlk_err *err)
{
    size_t end = 0;
    if (find_end(m, &end, path, err))
        return -1;
    const unsigned char *p = m->data + end;
    uint64_t disk = le(p + 4, 2), here = le(p + 8, 2), count = le(p + 10, 2), size = le(p + 12, 4),
             offset = le(p + 16, 4);
    if (end >= LOCATOR_SIZE && memcmp(p - LOCATOR_SIZE, "PK\x06\x07", 4) == 0) {
        uint64_t at = le(p - LOCATOR_SIZE + 8, 8);
        if (at > end - LOCATOR_SIZE || end - LOCATOR_SIZE - at < END64_SIZE ||
            memcmp(m->data + at, "PK\x06\x06", 4) != 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: zip: the ZIP64 end record is not at byte %llu", path,
                            (unsigned long long)at);
        p = m->data + at;
        if ((offset != 0xffffffffu && offset != le(p + 48, 8)) || (size != 0xffffffffu && size != le(p + 40, 8)) ||
            (count != 0xffffu && count != le(p + 32, 8)))
            return vlk_fail(err, VLK_EFORMAT, "%s: zip: the end record and the ZIP64 end record contradict each other",
                            path);
        disk = le(p + 16, 4);
        here = le(p + 24, 8);
        count = le(p + 32, 8);
        size = le(p + 40, 8);
        offset = le(p + 48, 8);
        end = (size_t)at;
    }
    if (disk != 0 || here != count)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: zip: archives in several parts are not supported", path);
    if (offset > end || end - offset != size)
        return vlk_fail(err, VLK_EFORMAT,
                        "%s: zip: expected the central directory to end at byte %zu, found offset %llu and size %llu",
                        path, end, (unsigned long long)offset, (unsigned long long)size);
    if (count > size / ENTRY_SIZE)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: a central directory of %llu bytes cannot hold %llu members", path,
                        (unsigned long long)size, (unsigned long long)count);
    d->offset = (size_t)offset;
    d->size = (size_t)size;
    d->count = (size_t)count;
    return 0;
}

/* A relative path without "..", so that it means the same to every reader. */
static int name_ok(const char *s, size_t n)
{
    if (n == 0 || s[0] == '/' || memchr(s, '\0', n) || memchr(s, '\\', n))
        return 0;
    for (size_t i = 0; i < n;) {
        size_t k = 0;
        while (i + k < n && s[i + k] != '/')
            k++;
        if (k == 2 && s[i] == '.' && s[i + 1] == '.')
            return 0;
        i += k + 1;
    }
    return 1;
}

/* Sizes and offset that did not fit into 32 bits are in the extra field 1, in this order, each only if needed. */
static int read_zip64(const unsigned char *extra, size_t n, uint64_t *size, uint64_t *packed, uint64_t *head)
{
    uint64_t *field[3] = {size, packed, head};
    while (n >= 4) {
        size_t id = (size_t)le(extra, 2), k = (size_t)le(extra + 2, 2);
        if (k > n - 4)
            return -1;
        if (id == 1) {
            const unsigned char *p = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != 0xffffffffu)
                    continue;
                if (k < 8)
                    return -1;
                *field[i] = le(p, 8);
                p += 8;
                k -= 8;
            }
            return 0;
        }
        extra += 4 + k;
        n -= 4 + k;
    }
    return *size == 0xffffffffu || *packed == 0xffffffffu || *head == 0xffffffffu ? -1 : 0;
}

/* Where a member's data begins, from its local header; everything must lie before the directory at `end`. */
static int locate(vlk_zip_member *m, const vlk_map *map, size_t end, const char *path, vlk_err *err)
{
    const char *name = m->name;
    int n = (int)m->n;
    if (m->head > end || end - m->head < LOCAL_SIZE || memcmp(map->data + m->head, "PK\x03\x04", 4) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: expected its local header at byte %zu, found none", path, n,
                        name, m->head);
    const unsigned char *p = map->data + m->head;
    size_t name_n = (size_t)le(p + 26, 2), extra_n = (size_t)le(p + 28, 2), room = end - m->head - LOCAL_SIZE;
    if (name_n + extra_n > room || m->packed > room - name_n - extra_n)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: expected %zu bytes from byte %zu, found the end of the data",
                        path, n, name, m->packed, m->head);
    if (name_n != m->n || memcmp(p + LOCAL_SIZE, name, name_n) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: its local header has another name", path, n, name);
    m->data = p + LOCAL_SIZE + name_n + extra_n;
    return 0;
}

/* One entry of the directory at p, of at most `left` bytes. *used is its length. */
static int read_entry(vlk_zip_member *m, size_t *used, const unsigned char *p, size_t left, const char *path,
                      vlk_err *err)
{
    if (left < ENTRY_SIZE || memcmp(p, "PK\x01\x02", 4) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: the central directory is broken", path);
    size_t name_n = (size_t)le(p + 28, 2), extra_n = (size_t)le(p + 30, 2), note_n = (size_t)le(p + 32, 2);
    *used = ENTRY_SIZE + name_n + extra_n + note_n;
    if (*used > left)
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: the central directory is broken", path);
    uint64_t flags = le(p + 8, 2), packed = le(p + 20, 4), size = le(p + 24, 4), head = le(p + 42, 4);
    m->name = (const char *)p + ENTRY_SIZE;
    m->n = name_n;
    m->method = (int)le(p + 10, 2);
    if (!name_ok(m->name, name_n))
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: expected names below the archive's folder, found \"%.*s\"", path,
                        (int)name_n, m->name);
    if (read_zip64(p + ENTRY_SIZE + name_n, extra_n, &size, &packed, &head))
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: a ZIP64 field is missing or truncated", path, (int)name_n,
                        m->name);
    if (flags & 1)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: zip: %.*s is encrypted", path, (int)name_n, m->name);
    if (size > SIZE_MAX || packed > SIZE_MAX || head > SIZE_MAX || (m->method == 0 && size != packed) ||
        (m->method == 8 && size / DEFLATE_RATIO > packed))
        return vlk_fail(err, VLK_EFORMAT, "%s: zip: %.*s: %llu bytes cannot come from %llu compressed ones", path,
                        (int)name_n, m->name, (unsigned long long)size, (unsigned long long)packed);
    m->size = (size_t)size;
    m->packed = (size_t)packed;
    m->head = (size_t)head;
    return 0;
}

static int by_head(const void *pa, const void *pb)
{
    const vlk_zip_member *a = (const vlk_zip_member *)pa, *b = (const vlk_zip_member *)pb;
    return a->head < b->head ? -1 : a->head > b->head;
}

static int by_name(const void *pa, const void *pb)
{
    const vlk_zip_member *a = (const vlk_zip_member *)pa, *b = (const vlk_zip_member *)pb;
    int c = memcmp(a->name, b->name, a->n < b->n ? a->n : b->n);
    return c ? c : a->n < b->n ? -1 : a->n > b->n;
}

/* Leaves the members sorted by name. */
static int check_members(vlk_zip *z, const unsigned char *base, vlk_err *err)
{
    vlk_zip_member *m = z->m;
    qsort(m, z->count, sizeof *m, by_head);
    for (size_t i = 1; i < z->count; i++)
        if (m[i - 1].head == m[i].head || (size_t)(m[i - 1].data - base) + m[i - 1].packed > m[i].head)
            return vlk_fail(err, VLK_EFORMAT, "%s: zip: the members %.*s and %.*s share bytes", z->path,
                            (int)m[i - 1].n, m[i - 1].name, (int)m[i].n, m[i].name);
    qsort(m, z->count, sizeof *m, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (by_name(&m[i - 1], &m[i]) == 0)
            return vlk_fail(err, VLK_EFORMAT, "%s: zip: expected the member %.*s once, found it twice", z->path,
                            (int)m[i].n, m[i].name);
    return 0;
}

int vlk_zip_open(vlk_zip *z, const vlk_map *m, const char *path, vlk_err *err)
{
    directory d = {0};
    z->m = NULL;
    z->count = 0;
    z->path = path;
    if (read_end(&d, m, path, err))
        return -1;
    z->m = (vlk_zip_member *)vlk_calloc(d.count + 1, sizeof *z->m, err);
    if (!z->m)
        return -1;
    size_t at = 0;
    for (; z->count < d.count; z->count++) {
        size_t used = 0;
        if (read_entry(&z->m[z->count], &used, m->data + d.offset + at, d.size - at, path, err) ||
            locate(&z->m[z->count], m, d.offset, path, err))
            goto fail;
        at += used;
    }
    if (at != d.size) {
        vlk_fail(err, VLK_EFORMAT, "%s: zip: expected %zu members in the central directory, found more", path, d.count);
        goto fail;
    }
    if (check_members(z, m->data, err) == 0)
        return 0;
fail:
    vlk_zip_close(z);
    return -1;
}

void vlk_zip_close(vlk_zip *z)
{
    free(z->m);
    z->m = NULL;
    z->count = 0;
}

vlk_zip_member *vlk_zip_find(const vlk_zip *z, const char *name, size_t n)
{
    vlk_zip_member key = {0};
    key.name = name;
    key.n = n;
    return (vlk_zip_member *)bsearch(&key, z->m, z->count, sizeof *z->m, by_name);
}

int vlk_zip_readable(const vlk_zip *z, const vlk_zip_member *m, vlk_err *err)
{
    if (m->method == 0 || m->method == 8)
        return 0;
    return vlk_fail(err, VLK_EUNSUPPORTED, "%s: zip: %.*s: expected a stored or deflated member, found method %d",
                    z->path, (int)m->n, m->name, m->method);
}

int vlk_zip_data(const vlk_zip *z, const vlk_zip_member *m, const unsigned char **out, vlk_weights *w, vlk_err *err)
{
    const vlk_packed p = {
        .data = m->data, .n = m->packed, .size = m->size, .member = m->name, .member_n = m->n, .path = z->path};
    if (vlk_zip_readable(z, m, err))
        return -1;
    *out = m->method == 0 ? m->data : vlk_weights_inflate(w, &p, err);
    return *out ? 0 : -1;
}
