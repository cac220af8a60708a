/* test_set.c - a set of files that belong together (X.npy or a table, X.keys, X.json): whatever is written over it, and
 * whenever the writer dies, a reader finds the old set, the new one, or none.
 *
 * The vector of a row tells its key, so that a pair that does not belong together is seen. rename and unlink are
 * replaced here: the writer, a child, is killed before or after any of its calls. */
#include "../scratch.h"
#include "../tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../tools/rank/rank.h"

enum { DIM = 2 };

static char dir[] = "/tmp/vlk-set-XXXXXX";
static vlk_err err;
static int moment, moments; /* 0: nothing happens */

static void tick(void)
{
    if (++moments == moment)
        raise(SIGKILL);
}

int rename(const char *from, const char *to)
{
    tick();
    int rc = renameat(AT_FDCWD, from, AT_FDCWD, to);
    tick();
    return rc;
}

int unlink(const char *path)
{
    tick();
    int rc = unlinkat(AT_FDCWD, path, 0);
    tick();
    return rc;
}

static const char *at(const char *name)
{
    static char path[4][300];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static sink_plan plan_of(cli_format format)
{
    sink_plan p = {.format = format, .type = VLK_F32, .dim = {DIM}, .rank = 1};
    const size_t dim = DIM;
    p.made = (provenance){.program = "toy",
                          .model = "m",
                          .preprocessing = "p",
                          .tower = "text",
                          .arithmetic = "f32",
                          .arguments = "{}",
                          .normalized = 1};
    provenance_shape(&p.made, VLK_F32, &dim, 1);
    return p;
}

/* Rows first .. first + n - 1; the key of row i is "i", its vector (i, 1). */
static int write_rows(sink *s, int first, int n)
{
    for (int i = first; i < first + n; i++) {
        char key[16];
        const float v[DIM] = {(float)i, 1};
        vlk_item it = {.kind = VLK_ITEM_TEXT, .key = {key, (size_t)snprintf(key, sizeof key, "%d", i)}};
        if (sink_begin(s, &it, &err) || (s->npy && sink_row(s, v, &err)) ||
            (!s->npy && (row_number(&s->table, "v", v[0], &err) || row_end(&s->table, &err))) || sink_end(s, &err))
            return -1;
    }
    return 0;
}

static int write_set(cli_format format, const char *path, int first, int n)
{
    const sink_plan plan = plan_of(format);
    sink s;
    if (sink_open(&s, &plan, path, SINK_WITH_KEYS, &err))
        return -1;
    if (write_rows(&s, first, n)) {
        sink_abort(&s);
        return -1;
    }
    return sink_commit(&s, &err);
}

static int number(const vlk_buf *b)
{
    return (int)strtol(b->data, NULL, 10);
}

/* What is read: the number of the first row of a set that is right; -1: none is found; -2: a key has another's vector.
 */
static int read_npy(const char *path, int rows)
{
    rank_file f;
    vlk_buf key = {0};
    if (rank_file_open(&f, path, &err))
        return -1;
    const float *v = f.npy.t.data;
    int first = (int)v[0];
    for (int i = 0; i < rows; i++)
        if (f.npy.t.dim[0] != (size_t)rows || rank_file_key(&f, (size_t)i, &key, &err) ||
            (int)v[i * DIM] != first + i || number(&key) != first + i)
            first = -2;
    vlk_buf_clear(&key);
    rank_file_close(&f);
    return first;
}

static int read_tsv(const char *path, int rows)
{
    vlk_buf table = {0}, keys = {0}, name = {0};
    int found = -1;
    if (provenance_beside(&name, path, ".keys", &err) == 0 && vlk_read_file(&table, path, 1 << 20, &err) == 0 &&
        vlk_read_file(&keys, name.data, 1 << 20, &err) == 0) /* a row of the table is its key */
        found = table.len == keys.len && memcmp(table.data, keys.data, keys.len) == 0 ? number(&keys) : -2;
    (void)rows;
    vlk_buf_clear(&table);
    vlk_buf_clear(&keys);
    vlk_buf_clear(&name);
    return found;
}

/* Rows from 100 on are written over those from 0 on, and the writer is killed at its k-th moment. 1 if it was. */
static int kill_writer(cli_format format, const char *path, int rows, int k)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        moments = 0;
        moment = k;
        _exit(write_set(format, path, 100, rows) ? 1 : 0);
    }
    tap_must(child > 0 && waitpid(child, &status, 0) == child, "a child", "");
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void killed(cli_format format, const char *path, int rows, int (*read)(const char *, int))
{
    int old = 0, none = 0, new = 0, k = 1, died = 1;
    for (; died && k < 100; k++) {
        CHECK(write_set(format, path, 0, rows) == 0 && read(path, rows) == 0, "the old set: %s", err.msg);
        died = kill_writer(format, path, rows, k);
        int found = read(path, rows);
        CHECK(found == 0 || found == -1 || found == 100, "%s, moment %d: found %d", path, k, found);
        CHECK(died || found == 100, "moment %d: not killed", k);
        old += found == 0, none += found == -1, new += found == 100;
        CHECK(write_set(format, path, 100, rows) == 0 && read(path, rows) == 100, "the rerun: %s", err.msg);
    }
    CHECK(k == 10, "%d moments: two of each of an unlink and three renames", k - 2);
    CHECK(old == 1 && none > 0 && new == 2, "old %d, none %d, new %d", old, none, new);
}

/* Sets that were mixed by hand. */
static void mixed(void)
{
    static const char *const member[] = {"npy", "keys", "json"};
    for (int m = 0; m < 3; m++) {
        char from[16], to[16];
        CHECK(write_set(CLI_NPY, at("a.npy"), 0, 4) == 0 && write_set(CLI_NPY, at("b.npy"), 100, 4) == 0, "two sets");
        snprintf(from, sizeof from, "a.%s", member[m]);
        snprintf(to, sizeof to, "b.%s", member[m]);
        CHECK(renameat(AT_FDCWD, at(from), AT_FDCWD, at(to)) == 0, "%s over %s", from, to);
        CHECK(read_npy(at("b.npy"), 4) == -1 && strstr(err.msg, "do not belong together") && strstr(err.msg, "b.keys"),
              "%s of another set: %s", member[m], err.msg);
    }
    CHECK(write_set(CLI_NPY, at("b.npy"), 100, 4) == 0 && unlinkat(AT_FDCWD, at("b.json"), 0) == 0 &&
              read_npy(at("b.npy"), 4) == 100,
          "without X.json: %s", err.msg);
}

/* A matrix beyond 256 KiB is known by blocks: the first, the last, and those between at their places. */
static void large(void)
{
    const int rows = 60000;
    CHECK(write_set(CLI_NPY, at("l.npy"), 0, rows) == 0 && read_npy(at("l.npy"), rows) == 0, "%s", err.msg);
    const long size = 128 + 8l * rows, block = (size - 4096) / 63 * 20;
    static const char *const what[] = {"first", "twentieth", "last"};
    const long place[] = {200, block + 100, size - 1};
    for (int i = 0; i < 3; i++) {
        char byte = 0;
        int fd = open(at("l.npy"), O_RDWR);
        CHECK(fd >= 0 && pread(fd, &byte, 1, place[i]) == 1, "opened");
        byte ^= 1;
        CHECK(pwrite(fd, &byte, 1, place[i]) == 1 && read_npy(at("l.npy"), rows) == -1, "changed in the %s block",
              what[i]);
        byte ^= 1;
        CHECK(pwrite(fd, &byte, 1, place[i]) == 1 && read_npy(at("l.npy"), rows) == 0, "and back: %s", err.msg);
        close(fd);
    }
}

/* A neighbour that cannot be written is found before any work is done, and the old set stays. */
static void in_the_way(void)
{
    static const char *const member[] = {"keys", "json"};
    for (int m = 0; m < 2; m++) {
        const sink_plan plan = plan_of(CLI_NPY);
        char name[16];
        sink s;
        snprintf(name, sizeof name, "w.%s", member[m]);
        CHECK(write_set(CLI_NPY, at("w.npy"), 0, 3) == 0, "%s", err.msg);
        CHECK(renameat(AT_FDCWD, at(name), AT_FDCWD, at("aside")) == 0 && mkdir(at(name), 0755) == 0, "a folder");
        CHECK(sink_open(&s, &plan, at("w.npy"), SINK_WITH_KEYS, &err) && strstr(err.msg, "is a folder"), "%s", err.msg);
        CHECK(rmdir(at(name)) == 0 && renameat(AT_FDCWD, at("aside"), AT_FDCWD, at(name)) == 0, "and back");
        CHECK(read_npy(at("w.npy"), 3) == 0 && access(at(".w.npy.vlk-tmp"), F_OK) != 0, "the old set: %s", err.msg);
        /* it comes in the way later */
        CHECK(sink_open(&s, &plan, at("w.npy"), SINK_WITH_KEYS, &err) == 0 && write_rows(&s, 100, 3) == 0, "%s",
              err.msg);
        CHECK(renameat(AT_FDCWD, at(name), AT_FDCWD, at("aside")) == 0 && mkdir(at(name), 0755) == 0, "a folder");
        CHECK(sink_commit(&s, &err) && strstr(err.msg, "has become a folder"), "%s", err.msg);
        CHECK(rmdir(at(name)) == 0 && renameat(AT_FDCWD, at("aside"), AT_FDCWD, at(name)) == 0, "and back");
        CHECK(read_npy(at("w.npy"), 3) == 0 && access(at(".w.npy.vlk-tmp"), F_OK) != 0, "the old set: %s", err.msg);
    }
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    killed(CLI_NPY, at("x.npy"), 5, read_npy);
    killed(CLI_TSV, at("t.tsv"), 5, read_tsv);
    CHECK(mkdir(at("far"), 0755) == 0 && symlink("far/l.npy", at("link.npy")) == 0, "a link");
    CHECK(write_set(CLI_NPY, at("far/l.npy"), 0, 5) == 0, "%s", err.msg);
    killed(CLI_NPY, at("link.npy"), 5, read_npy);
    mixed();
    large();
    in_the_way();
    CHECK(scratch_remove(dir) == 0, "cleaned up");
    return tap_end();
}
