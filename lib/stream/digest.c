/* digest.c - tells files of the same kind and size from each other without reading them whole.
 *
 *   up to 256 KiB   SHA-256 of the file, as sha256sum prints it
 *   larger          SHA-256 of 64 blocks of 4 KiB, block i at offset floor(i * (size - 4096) / 63)
 *
 * A matrix of gigabytes is mapped and searched at memory speed: reading all of it first would double the time. */
#include "stream.h"

#include <string.h>

enum { BLOCK = 4096, BLOCKS = 64 };

int vlk_digest(char out[65], size_t size, vlk_read_at *read, void *arg, vlk_err *err)
{
    unsigned char block[BLOCK];
    vlk_sha256 s;
    vlk_sha256_init(&s);
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t at = size > (size_t)BLOCK * BLOCKS
                        ? (size - BLOCK) / (BLOCKS - 1) * i + (size - BLOCK) % (BLOCKS - 1) * i / (BLOCKS - 1)
                        : BLOCK * i;
        size_t n = at >= size ? 0 : size - at < BLOCK ? size - at : BLOCK;
        if (n > 0 && read(arg, block, n, at, err))
            return -1;
        vlk_sha256_add(&s, block, n);
    }
    vlk_sha256_hex(&s, out);
    return 0;
}

static int read_map(void *map, void *to, size_t n, size_t at, vlk_err *err)
{
    const vlk_map *m = map;
    (void)err;
    memcpy(to, m->data + at, n);
    return 0;
}

int vlk_map_digest(vlk_map *m, char out[65], vlk_err *err)
{
    return vlk_digest(out, m->size, read_map, m, err);
}
