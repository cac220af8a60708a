/* pickle_call.c - the names that a checkpoint's pickle may use, and the values that calls to them yield.
 *
 * A whitelist: whatever is not in the tables is refused by name, before it is evaluated. No foreign code is run; REDUCE
 * of _rebuild_tensor_v2, for example, records a storage, an offset, sizes and strides.
 *
 *     storage: ("storage", TYPE, KEY, LOCATION, ELEMENTS[, VIEW])      VIEW: None or (KEY, OFFSET, ELEMENTS)
 *     tensor:  _rebuild_tensor_v2(STORAGE, OFFSET, SIZES, STRIDES, requires_grad, hooks[, metadata]) */
#include "weights_internal.h"

#include <string.h>

typedef struct global {
    const char *module, *name;
    vlk_pkl_call call;
    vlk_dtype dtype;
} global;

static const global globals[] = {
    {"collections", "OrderedDict", VLK_CALL_DICT, 0},
    {"torch._utils", "_rebuild_tensor", VLK_CALL_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", VLK_CALL_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", VLK_CALL_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", VLK_CALL_PARAMETER, 0},
    {"torch.nn.parameter", "Parameter", VLK_CALL_OPAQUE, 0},
    {"torch", "FloatStorage", VLK_CALL_STORAGE, VLK_F32},
    {"torch", "HalfStorage", VLK_CALL_STORAGE, VLK_F16},
    {"torch", "BFloat16Storage", VLK_CALL_STORAGE, VLK_BF16},
    {"torch", "DoubleStorage", VLK_CALL_STORAGE, VLK_F64},
    {"torch", "LongStorage", VLK_CALL_STORAGE, VLK_I64},
    {"torch", "IntStorage", VLK_CALL_STORAGE, VLK_I32},
    {"torch", "ShortStorage", VLK_CALL_STORAGE, VLK_I16},
    {"torch", "CharStorage", VLK_CALL_STORAGE, VLK_I8},
    {"torch", "ByteStorage", VLK_CALL_STORAGE, VLK_U8},
    {"torch", "BoolStorage", VLK_CALL_STORAGE, VLK_BOOL},
    {"torch.storage", "UntypedStorage", VLK_CALL_STORAGE, VLK_U8},
    {"torch.storage", "TypedStorage", VLK_CALL_OPAQUE, 0},
    {"torch", "Size", VLK_CALL_OPAQUE, 0},
    {"torch", "device", VLK_CALL_OPAQUE, 0},
    {"torch", "float32", VLK_CALL_OPAQUE, 0},
    {"torch", "float16", VLK_CALL_OPAQUE, 0},
    {"torch", "bfloat16", VLK_CALL_OPAQUE, 0},
    {"torch", "float64", VLK_CALL_OPAQUE, 0},
    {"torch", "int64", VLK_CALL_OPAQUE, 0},
    {"torch", "int32", VLK_CALL_OPAQUE, 0},
    {"torch", "int16", VLK_CALL_OPAQUE, 0},
    {"torch", "int8", VLK_CALL_OPAQUE, 0},
    {"torch", "uint8", VLK_CALL_OPAQUE, 0},
    {"torch", "bool", VLK_CALL_OPAQUE, 0},
    {"torch.jit._pickle", "build_intlist", VLK_CALL_OPAQUE, 0},
    {"torch.jit._pickle", "build_tensorlist", VLK_CALL_OPAQUE, 0},
    {"torch.jit._pickle", "build_doublelist", VLK_CALL_OPAQUE, 0},
    {"torch.jit._pickle", "build_boollist", VLK_CALL_OPAQUE, 0},
    {"torch.jit._pickle", "restore_type_tag", VLK_CALL_OPAQUE, 0},
    /* Beside the state dict of a training run: arguments, losses. */
    {"_codecs", "encode", VLK_CALL_OPAQUE, 0},
    {"argparse", "Namespace", VLK_CALL_OPAQUE, 0},
    {"types", "SimpleNamespace", VLK_CALL_OPAQUE, 0},
    {"collections", "defaultdict", VLK_CALL_OPAQUE, 0},
    {"collections", "Counter", VLK_CALL_OPAQUE, 0},
    {"collections", "deque", VLK_CALL_OPAQUE, 0},
    {"datetime", "date", VLK_CALL_OPAQUE, 0},
    {"datetime", "datetime", VLK_CALL_OPAQUE, 0},
    {"datetime", "timedelta", VLK_CALL_OPAQUE, 0},
    {"datetime", "timezone", VLK_CALL_OPAQUE, 0},
    {"torch.torch_version", "TorchVersion", VLK_CALL_OPAQUE, 0},
    {"numpy", "dtype", VLK_CALL_OPAQUE, 0},
    {"numpy", "ndarray", VLK_CALL_OPAQUE, 0},
};

/* Modules that moved, and classes of the built-in module under both of its names. */
static const struct {
    const char *module[3], *name[9];
} plain[] = {
    {{"numpy.core.multiarray", "numpy._core.multiarray"}, {"scalar", "_reconstruct"}},
    {{"numpy.core.numeric", "numpy._core.numeric"}, {"_frombuffer"}},
    {{"pathlib", "pathlib._local"},
     {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"}},
    {{"builtins", "__builtin__"}, {"set", "frozenset", "dict", "list", "int", "float", "complex", "bytearray"}},
};

static int same(const char *s, size_t n, const char *t)
{
    return n == strlen(t) && memcmp(s, t, n) == 0;
}

static int is_plain(const char *module, size_t m, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        int has_module = 0, has_name = 0;
        for (const char *const *s = plain[i].module; *s; s++)
            has_module |= same(module, m, *s);
        for (const char *const *s = plain[i].name; has_module && *s; s++)
            has_name |= same(name, n, *s);
        if (has_name)
            return 1;
    }
    return 0;
}

int vlk_pkl_global(vlk_pkl *k, const char *module, size_t m, const char *name, size_t n, vlk_pkl_value **out,
                   vlk_err *err)
{
    static const char script[] = "__torch__"; /* TorchScript's classes: their objects are only sets of attributes */
    size_t s = sizeof script - 1;
    vlk_pkl_value *v = vlk_pkl_make(k, VLK_PKL_GLOBAL, err);
    if (!v)
        return -1;
    *out = v;
    if (m >= s && memcmp(module, script, s) == 0 && (m == s || module[s] == '.')) {
        v->call = VLK_CALL_CLASS;
        return 0;
    }
    if (is_plain(module, m, name, n)) {
        v->call = VLK_CALL_OPAQUE;
        return 0;
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (same(module, m, globals[i].module) && same(name, n, globals[i].name)) {
            v->call = globals[i].call;
            v->dtype = globals[i].dtype;
            return 0;
        }
    }
    return vlk_pkl_bad(k, err, "expected tensors and plain data, found the name %.*s.%.*s (nothing was executed)",
                       m > 120 ? 120 : (int)m, module, n > 120 ? 120 : (int)n, name);
}

/* Python 2 pickled an ordered dict as a call with a list of pairs. */
static int fill_dict(vlk_pkl *k, vlk_pkl_value *dict, const vlk_pkl_value *pairs, vlk_err *err)
{
    if (pairs->kind != VLK_PKL_LIST)
        return vlk_pkl_bad(k, err, "expected a list of pairs to make a dict of, found something else");
    for (const vlk_pkl_cell *c = pairs->u.seq.first; c; c = c->next) {
        const vlk_pkl_value *p = c->v;
        if ((p->kind != VLK_PKL_LIST && p->kind != VLK_PKL_TUPLE) || p->u.seq.count != 2)
            return vlk_pkl_bad(k, err, "expected a pair to put into a dict, found something else");
        if (vlk_pkl_append(k, dict, p->u.seq.first->v, err) || vlk_pkl_append(k, dict, p->u.seq.last->v, err))
            return -1;
    }
    return 0;
}

static int rebuild_tensor(vlk_pkl *k, const vlk_pkl_value *args, vlk_pkl_value **out, vlk_err *err)
{
    const vlk_pkl_value *storage = vlk_pkl_at(args, 0), *offset = vlk_pkl_at(args, 1), *size = vlk_pkl_at(args, 2),
                        *stride = vlk_pkl_at(args, 3);
    if (!stride || storage->kind != VLK_PKL_STORAGE || offset->kind != VLK_PKL_INT || size->kind != VLK_PKL_TUPLE ||
        stride->kind != VLK_PKL_TUPLE)
        return vlk_pkl_bad(k, err, "expected a tensor from a storage, an offset, sizes and strides, found others");
    vlk_pkl_value *t = vlk_pkl_make(k, VLK_PKL_TENSOR, err);
    if (!t)
        return -1;
    t->u.tensor.storage = storage;
    t->u.tensor.offset = offset->u.i;
    t->u.tensor.size = size;
    t->u.tensor.stride = stride;
    *out = t;
    return 0;
}

int vlk_pkl_reduce(vlk_pkl *k, const vlk_pkl_value *f, const vlk_pkl_value *args, vlk_pkl_value **out, vlk_err *err)
{
    char text[96];
    if (f->kind != VLK_PKL_GLOBAL)
        return vlk_pkl_bad(k, err, "expected a name to call, found %s", vlk_pkl_describe(f, text, sizeof text));
    switch (f->call) {
    case VLK_CALL_DICT:
        *out = vlk_pkl_make(k, VLK_PKL_DICT, err);
        if (!*out)
            return -1;
        return args->u.seq.count == 0 ? 0 : fill_dict(k, *out, args->u.seq.first->v, err);
    case VLK_CALL_TENSOR:
        return rebuild_tensor(k, args, out, err);
    case VLK_CALL_PARAMETER:
        if (args->u.seq.count == 0 || args->u.seq.first->v->kind != VLK_PKL_TENSOR)
            return vlk_pkl_bad(k, err, "expected a parameter made of a tensor, found none");
        *out = args->u.seq.first->v;
        return 0;
    case VLK_CALL_CLASS:
        return vlk_pkl_newobj(k, f, out, err);
    default:
        *out = vlk_pkl_make(k, VLK_PKL_OPAQUE, err);
        return *out ? 0 : -1;
    }
}

int vlk_pkl_newobj(vlk_pkl *k, const vlk_pkl_value *cls, vlk_pkl_value **out, vlk_err *err)
{
    if (cls->kind != VLK_PKL_GLOBAL)
        return vlk_pkl_bad(k, err, "expected a class to make an object of, found something else");
    *out = vlk_pkl_make(k,
                        cls->call == VLK_CALL_CLASS  ? VLK_PKL_OBJECT
                        : cls->call == VLK_CALL_DICT ? VLK_PKL_DICT
                                                     : VLK_PKL_OPAQUE,
                        err);
    return *out ? 0 : -1;
}

/* Attributes matter for TorchScript's objects only; a state dict has _metadata, which is ignored. */
int vlk_pkl_build(vlk_pkl *k, vlk_pkl_value *v, vlk_pkl_value *state, vlk_err *err)
{
    char text[96];
    switch (v->kind) {
    case VLK_PKL_OBJECT:
        v->u.state = state;
        return 0;
    case VLK_PKL_DICT:
    case VLK_PKL_TENSOR:
    case VLK_PKL_OPAQUE:
        return 0;
    default:
        return vlk_pkl_bad(k, err, "expected an object to set the state of, found %s",
                           vlk_pkl_describe(v, text, sizeof text));
    }
}

/* The view of an old file's storage: (KEY, OFFSET, ELEMENTS), inside the root storage. */
static int read_view(vlk_pkl *k, vlk_pkl_value *s, const vlk_pkl_value *view, vlk_err *err)
{
    const vlk_pkl_value *offset = view->kind == VLK_PKL_TUPLE ? vlk_pkl_at(view, 1) : NULL,
                        *count = view->kind == VLK_PKL_TUPLE ? vlk_pkl_at(view, 2) : NULL;
    if (view->kind == VLK_PKL_NONE)
        return 0;
    if (!count || offset->kind != VLK_PKL_INT || count->kind != VLK_PKL_INT || offset->u.i < 0 || count->u.i < 0 ||
        (uint64_t)offset->u.i > s->u.storage.count || (uint64_t)count->u.i > s->u.storage.count - (size_t)offset->u.i)
        return vlk_pkl_bad(k, err, "expected a view inside its storage of %zu elements, found another",
                           s->u.storage.count);
    s->u.storage.view = (size_t)offset->u.i;
    return 0;
}

int vlk_pkl_persid(vlk_pkl *k, const vlk_pkl_value *id, vlk_pkl_value **out, vlk_err *err)
{
    size_t n = id->kind == VLK_PKL_TUPLE ? id->u.seq.count : 0;
    const vlk_pkl_value *type = n > 1 ? vlk_pkl_at(id, 1) : NULL, *key = n > 2 ? vlk_pkl_at(id, 2) : NULL,
                        *count = n > 4 ? vlk_pkl_at(id, 4) : NULL;
    char text[96];
    if (n < 5 || n > 6 || !vlk_pkl_is(vlk_pkl_at(id, 0), "storage"))
        return vlk_pkl_bad(k, err, "expected the reference of a storage, found something else");
    if (type->kind != VLK_PKL_GLOBAL || type->call != VLK_CALL_STORAGE)
        return vlk_pkl_bad(k, err, "expected a storage type such as torch.FloatStorage, found another name");
    if (key->kind != VLK_PKL_STR || count->kind != VLK_PKL_INT || count->u.i < 0 || (uint64_t)count->u.i > SIZE_MAX)
        return vlk_pkl_bad(k, err, "expected a storage's key and number of elements, found %s",
                           vlk_pkl_describe(key->kind == VLK_PKL_STR ? count : key, text, sizeof text));
    if (key->u.str.n > VLK_MAX_KEY)
        return vlk_pkl_bad(k, err, "expected a storage's key of at most %d bytes, found %zu", VLK_MAX_KEY,
                           key->u.str.n);
    if (k->storages == VLK_MAX_TENSORS)
        return vlk_pkl_bad(k, err, "expected at most %d references of storages, found more", VLK_MAX_TENSORS);
    vlk_pkl_value *s = vlk_pkl_make(k, VLK_PKL_STORAGE, err);
    if (!s || vlk_grow(&k->storage, &k->storage_cap, k->storages + 1, sizeof *k->storage, err))
        return -1;
    s->dtype = type->dtype;
    s->u.storage.key = key->u.str.s;
    s->u.storage.key_n = key->u.str.n;
    s->u.storage.count = (size_t)count->u.i;
    if (n == 6 && read_view(k, s, vlk_pkl_at(id, 5), err))
        return -1;
    k->storage[k->storages++] = s;
    *out = s;
    return 0;
}
