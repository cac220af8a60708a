/* codes.h - names of error codes, as tables of expected verdicts spell them. */
#ifndef VLK_TEST_CODES_H
#define VLK_TEST_CODES_H

#include "../lib/base/base.h"

static inline const char *code_name(vlk_code code)
{
    switch (code) {
    case VLK_OK:
        return "ok";
    case VLK_EUSAGE:
        return "usage";
    case VLK_EIO:
        return "io";
    case VLK_EFORMAT:
        return "format";
    case VLK_EMODEL:
        return "model";
    case VLK_ELIMIT:
        return "limit";
    case VLK_EMEM:
        return "memory";
    case VLK_EUNSUPPORTED:
        return "unsupported";
    case VLK_EVALUE:
        return "value";
    case VLK_ESTOPPED:
        return "stopped";
    }
    return "unknown";
}

#endif
