/* dist.c - several processes by MPI: the only user of mpi.h (MPI: A Message-Passing Interface Standard, 3.1).
 *
 * The library is opened only if a launcher has started several ranks: a single process neither loads nor needs it, and
 * nothing that links libvlk.a links MPI. Its handles are addresses of objects in the library, as in Open MPI. ranks.c
 * says what a call means for training. */
#include "dist_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Launchers say how many ranks they start; PMIx alone says only which one this is. */
size_t vlk_dist_launched(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    uint64_t n;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (getenv(sizes[i]) && vlk_parse_u64(getenv(sizes[i]), 1, INT_MAX, &n) == 0)
            return (size_t)n;
    if (!getenv("PMIX_RANK"))
        return 1;
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    return tasks && vlk_parse_u64(tasks, 1, INT_MAX, &n) == 0 ? (size_t)n : SIZE_MAX;
}

size_t vlk_dist_rank(const vlk_dist *d)
{
    return d ? d->rank : 0;
}

size_t vlk_dist_ranks(const vlk_dist *d)
{
    return d ? d->ranks : 1;
}

#ifdef VLK_HAVE_MPI
#include <dlfcn.h>
#include <mpi.h>
#include <time.h>

#define FUNCTIONS(f)                                                                                                   \
    f(Init_thread) f(Finalize) f(Abort) f(Comm_rank) f(Comm_size) f(Comm_set_errhandler) f(Error_string) f(Iallgather) \
        f(Test) f(Allgather) f(Allgatherv) f(Alltoall) f(Bcast)

struct vlk_dist_mpi {
#define MEMBER(name) __typeof__(&MPI_##name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
    MPI_Comm world;
    MPI_Datatype byte, wide;
    MPI_Errhandler returns;
    int *count, *at; /* (ranks) */
};

/* dlsym returns an object pointer, which C does not convert to a function pointer; POSIX says that their bits are the
 * same.
 */
static int find_symbol(void *lib, const char *name, void *to, vlk_err *err)
{
    void *at = dlsym(lib, name);
    if (!at)
        return vlk_fail(err, VLK_EUNSUPPORTED, "libmpi has no %s: it is not Open MPI", name);
    memcpy(to, &at, sizeof at);
    return 0;
}

static int load(struct vlk_dist_mpi *m, vlk_err *err)
{
    /* Its modules look up its names in the whole process. Never closed. */
    void *lib = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
    lib = lib ? lib : dlopen("libmpi.so", RTLD_NOW | RTLD_GLOBAL);
    if (!lib)
        return vlk_fail(err, VLK_EUNSUPPORTED, "several ranks were started, but MPI cannot be opened: %s", dlerror());
#define FIND(name)                                                                                                     \
    if (find_symbol(lib, "MPI_" #name, &m->name, err))                                                                 \
        return -1;
    FUNCTIONS(FIND)
#undef FIND
    return find_symbol(lib, "ompi_mpi_comm_world", &m->world, err) ||
                   find_symbol(lib, "ompi_mpi_byte", &m->byte, err) ||
                   find_symbol(lib, "ompi_mpi_float", &m->wide, err) ||
                   find_symbol(lib, "ompi_mpi_errors_return", &m->returns, err)
               ? -1
               : 0;
}

static int check(vlk_dist *d, int code, const char *what, vlk_err *err)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    if (code == MPI_SUCCESS)
        return 0;
    d->broken = 1;
    d->mpi->Error_string(code, text, &n);
    return vlk_fail(err, VLK_EIO, "rank %zu: MPI cannot %s: %.*s", d->rank, what, n, text);
}

static int usable(const vlk_dist *d, vlk_err *err)
{
    return d->broken ? vlk_fail(err, VLK_EIO, "rank %zu: the other ranks cannot be reached", d->rank) : 0;
}

static int start(vlk_dist *d, vlk_err *err)
{
    struct vlk_dist_mpi *m = d->mpi;
    int level, rank = 0, ranks = 0;
    if (load(m, err) || check(d, m->Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "begin", err))
        return -1;
    m->Comm_set_errhandler(m->world, m->returns);
    if (check(d, m->Comm_rank(m->world, &rank), "count ranks", err) ||
        check(d, m->Comm_size(m->world, &ranks), "count ranks", err))
        return -1;
    d->rank = (size_t)rank;
    d->ranks = (size_t)ranks;
    size_t said = vlk_dist_launched();
    if (said != SIZE_MAX && said != d->ranks)
        return vlk_fail(err, VLK_EUSAGE, "the launcher started %zu ranks, MPI sees %zu: it belongs to another MPI",
                        said, d->ranks);
    m->count = vlk_calloc(d->ranks, sizeof *m->count, err);
    m->at = vlk_calloc(d->ranks, sizeof *m->at, err);
    return m->count && m->at ? 0 : -1;
}

vlk_dist *vlk_dist_open(vlk_err *err)
{
    vlk_dist *d = vlk_calloc(1, sizeof *d, err);
    if (d && (d->mpi = vlk_calloc(1, sizeof *d->mpi, err)) && start(d, err) == 0)
        return d;
    if (d && d->ranks) /* the others must not wait for us */
        d->broken = 1;
    vlk_dist_close(d);
    return NULL;
}

void vlk_dist_close(vlk_dist *d)
{
    if (!d)
        return;
    if (d->ranks && !d->broken)
        d->mpi->Finalize();
    else if (d->ranks)
        d->mpi->Abort(d->mpi->world, 2);
    if (d->mpi) {
        free(d->mpi->count);
        free(d->mpi->at);
    }
    free(d->mpi);
    free(d->pack);
    free(d->parts);
    free(d);
}

/* Polls busily for a moment, then less and less often. */
static int wait_for(vlk_dist *d, MPI_Request *r, vlk_err *err)
{
    struct timespec pause = {0, 20000};
    int done = 0;
    for (int i = 0; !done; i++) {
        if (check(d, d->mpi->Test(r, &done, MPI_STATUS_IGNORE), "wait", err))
            return -1;
        if (done || i < 200)
            continue;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 1000000)
            pause.tv_nsec *= 2;
    }
    return 0;
}

int vlk_dist_raw_gather(vlk_dist *d, const void *mine, size_t bytes, void *all, vlk_err *err)
{
    const struct vlk_dist_mpi *m = d->mpi;
    MPI_Request r;
    if (usable(d, err))
        return -1;
    if (bytes > INT_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%zu bytes are too many for a message", bytes);
    int n = (int)bytes;
    return check(d, m->Iallgather(mine, n, m->byte, all, n, m->byte, m->world, &r), "gather", err)
               ? -1
               : wait_for(d, &r, err);
}

int vlk_dist_raw_gatherv(vlk_dist *d, const void *mine, const size_t *count, int wide, void *all, vlk_err *err)
{
    const struct vlk_dist_mpi *m = d->mpi;
    MPI_Datatype type = wide ? m->wide : m->byte;
    size_t at = 0;
    if (usable(d, err))
        return -1;
    for (size_t i = 0; i < d->ranks; i++) {
        if (count[i] > INT_MAX - at) /* the same on all ranks */
            return vlk_fail(err, VLK_ELIMIT, "the batch is too large: more than %d numbers to gather", INT_MAX);
        m->count[i] = (int)count[i];
        m->at[i] = (int)at;
        at += count[i];
    }
    return check(d, m->Allgatherv(mine, m->count[d->rank], type, all, m->count, m->at, type, m->world), "gather", err);
}

int vlk_dist_raw_broadcast(vlk_dist *d, void *p, size_t bytes, size_t from, vlk_err *err)
{
    const size_t most = (size_t)1 << 28;
    if (usable(d, err))
        return -1;
    for (size_t at = 0; at < bytes; at += most) {
        int n = (int)(bytes - at < most ? bytes - at : most);
        if (check(d, d->mpi->Bcast((char *)p + at, n, d->mpi->byte, (int)from, d->mpi->world), "broadcast", err))
            return -1;
    }
    return 0;
}

int vlk_dist_raw_exchange(vlk_dist *d, const float *x, size_t n, float *all, vlk_err *err)
{
    const struct vlk_dist_mpi *m = d->mpi;
    return usable(d, err) ? -1
                          : check(d, m->Alltoall(x, (int)n, m->wide, all, (int)n, m->wide, m->world), "exchange", err);
}

int vlk_dist_raw_floats(vlk_dist *d, const float *mine, size_t n, float *all, vlk_err *err)
{
    const struct vlk_dist_mpi *m = d->mpi;
    return usable(d, err)
               ? -1
               : check(d, m->Allgather(mine, (int)n, m->wide, all, (int)n, m->wide, m->world), "gather", err);
}

#else /* built without MPI: there is never a vlk_dist */

static int none(vlk_err *err)
{
    return vlk_fail(err, VLK_EUNSUPPORTED, "several ranks were started, but this program is built without MPI");
}

vlk_dist *vlk_dist_open(vlk_err *err)
{
    none(err);
    return NULL;
}

void vlk_dist_close(vlk_dist *d)
{
    free(d);
}

int vlk_dist_raw_gather(vlk_dist *d, const void *mine, size_t bytes, void *all, vlk_err *err)
{
    (void)d, (void)mine, (void)bytes, (void)all;
    return none(err);
}

int vlk_dist_raw_gatherv(vlk_dist *d, const void *mine, const size_t *count, int wide, void *all, vlk_err *err)
{
    (void)d, (void)mine, (void)count, (void)wide, (void)all;
    return none(err);
}

int vlk_dist_raw_broadcast(vlk_dist *d, void *p, size_t bytes, size_t from, vlk_err *err)
{
    (void)d, (void)p, (void)bytes, (void)from;
    return none(err);
}

int vlk_dist_raw_exchange(vlk_dist *d, const float *x, size_t n, float *all, vlk_err *err)
{
    (void)d, (void)x, (void)n, (void)all;
    return none(err);
}

int vlk_dist_raw_floats(vlk_dist *d, const float *mine, size_t n, float *all, vlk_err *err)
{
    (void)d, (void)mine, (void)n, (void)all;
    return none(err);
}
#endif
