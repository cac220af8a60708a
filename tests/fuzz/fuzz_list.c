/* fuzz_list.c - any bytes as a list; the last byte, where it is small, names the kind. */
#include "../../lib/stream/stream.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlk_err err;
    vlk_row row = {0};
    if (size == 0)
        return 0;
    vlk_list_kind kind = data[size - 1] <= VLK_LIST_NAMES0 ? (vlk_list_kind)data[size - 1] : VLK_LIST_AUTO;
    vlk_in *in = vlk_in_memory(data, size, "fuzz", &err);
    vlk_list *l = vlk_list_from(in, kind, &err);
    for (int rc; (rc = vlk_list_next(l, &row, &err)) > 0;) {
        const char *c = row.text.data;
        if (rc == 2)
            continue;
        if (row.path.len == 0 || strlen(row.path.data) != row.path.len)
            abort();
        for (size_t i = 0; i < row.captions; i++, c += strlen(c) + 1)
            if (vlk_utf8_valid(c, strlen(c)) != strlen(c))
                abort();
        if (row.captions && c != row.text.data + row.text.len)
            abort();
    }
    vlk_row_clear(&row);
    vlk_list_close(l);
    vlk_in_close(in);
    return 0;
}
