/* test_run.c - a run's state and folder: saved and loaded, links, removal of old checkpoints, metrics cut back; and a
 * child that is killed at random moments, again and again, ends with the bytes of one that was left alone. */
#define _GNU_SOURCE /* usleep, nftw */
#include "../clock.h"
#include "../../lib/train/train.h"
#include "../tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/vlk-test-run-XXXXXX";

static const char *in(char *out, const char *name)
{
    snprintf(out, 200, "%s/%s", folder, name);
    return out;
}

static int exists(const char *name)
{
    char path[200];
    struct stat st;
    return lstat(in(path, name), &st) == 0;
}

static int put_file(const char *path, const char *text)
{
    vlk_err err;
    vlk_out *o = vlk_out_open(path, &err);
    return !o || vlk_out_write(o, text, strlen(text), &err) || vlk_out_commit(o, &err);
}

/* ---- state -------------------------------------------------------------------------------------- */

typedef struct kept {
    float weights[6];
    int64_t ids[2];
    uint64_t step;
    double best;
} kept;

static vlk_state *state_of(kept *k, size_t rows)
{
    vlk_err err = {0};
    const size_t dim[2] = {rows, 6 / rows}, two = 2;
    vlk_state *s = vlk_state_new(&err);
    CHECK(s && vlk_state_tensor(s, "queue", "image", VLK_F32, dim, 2, k->weights, &err) == 0 &&
              vlk_state_tensor(s, NULL, "ids", VLK_I64, &two, 1, k->ids, &err) == 0 &&
              vlk_state_counter(s, "step", &k->step, &err) == 0 && vlk_state_number(s, "best", &k->best, &err) == 0,
          "%s", err.msg);
    return s;
}

static void states(void)
{
    char path[200];
    vlk_err err = {0};
    kept a = {{1, 2, 3, 4, 5, 1e-30f}, {-7, 9}, 123456789012345, 0.1}, b = {{0}, {0}, 0, 0}, c = b;
    vlk_state *s = state_of(&a, 2), *t = state_of(&b, 2), *u = state_of(&c, 3);
    in(path, "state.safetensors");
    CHECK(vlk_state_save(s, path, &err) == 0, "%s", err.msg);
    CHECK(vlk_state_load(t, path, &err) == 0, "%s", err.msg);
    CHECK(memcmp(&a, &b, sizeof a) == 0, "the same bits come back");
    CHECK(vlk_state_load(u, path, &err) && strstr(err.msg, "queue/image") && strstr(err.msg, "[3,2]"), "%s", err.msg);
    CHECK(c.step == 0 && c.ids[0] == 0, "nothing was written by a load that failed");
    const size_t one = 1;
    CHECK(vlk_state_tensor(t, NULL, "ids", VLK_I64, &one, 1, b.ids, &err) != 0, "one name twice: %s", err.msg);
    CHECK(vlk_state_counter(t, "step", &b.step, &err) != 0, "one counter twice: %s", err.msg);
    uint64_t more = 5;
    CHECK(vlk_state_counter(t, "more", &more, &err) == 0, "%s", err.msg);
    CHECK(vlk_state_load(t, path, &err) && strstr(err.msg, "more"), "a counter that is missing: %s", err.msg);
    CHECK(vlk_state_save(t, path, &err) == 0, "%s", err.msg);
    CHECK(vlk_state_load(s, path, &err) && strstr(err.msg, "more"), "one too many: %s", err.msg);
    a.best = NAN;
    CHECK(vlk_state_save(s, path, &err) != 0, "NaN is not saved: %s", err.msg);
    a.best = 0;
    a.weights[3] = INFINITY;
    CHECK(vlk_state_save(s, path, &err) == 0, "%s", err.msg);
    CHECK(vlk_state_load(s, path, &err) && strstr(err.msg, "queue/image"), "not finite: %s", err.msg);
    unlink(path);
    CHECK(vlk_state_load(s, path, &err) != 0, "no file: %s", err.msg);
    vlk_state_free(s);
    vlk_state_free(t);
    vlk_state_free(u);
}

/* ---- folder ------------------------------------------------------------------------------------- */

static void checkpoint(vlk_run *r, uint64_t step, uint64_t best, size_t keep)
{
    vlk_err err = {0};
    vlk_buf path = {0};
    char name[260];
    if (CHECK(vlk_run_begin(r, step, 1000, &path, &err) == 0, "%s", err.msg)) {
        snprintf(name, sizeof name, "%s/x", path.data);
        CHECK(put_file(name, "x") == 0, "file of step %d", (int)step);
        CHECK(vlk_run_commit(r, step, best, keep, &err) == 0, "%s", err.msg);
    }
    vlk_buf_clear(&path);
}

static void check_link(const char *name, const char *want)
{
    char path[200], to[100] = "";
    ssize_t n = readlink(in(path, name), to, sizeof to - 1);
    CHECK(n > 0 && strcmp(to, want) == 0, "%s leads to \"%s\", expected %s", name, to, want);
}

static void folders(void)
{
    char path[200];
    vlk_err err = {0};
    vlk_buf b = {0};
    uint64_t step = 0;
    in(path, "run");
    CHECK(!vlk_run_open(path, 0, &err), "none there: %s", err.msg);
    vlk_run *r = vlk_run_open(path, 1, &err);
    if (!CHECK(r, "%s", err.msg))
        return;
    CHECK(!vlk_run_open(path, 0, &err) && strstr(err.msg, "another process"), "%s", err.msg);
    CHECK(vlk_run_config(r, &b, &err) == 0, "no run.json yet");
    CHECK(vlk_run_put_config(r, "{}\n", 3, &err) == 0 && vlk_run_config(r, &b, &err) == 1 && b.len == 3, "%s", err.msg);
    b.len = 0;
    CHECK(vlk_run_newest(r, &step, &b, NULL, &err) == 0, "no checkpoint yet");
    checkpoint(r, 10, 10, 2);
    checkpoint(r, 20, 10, 2);
    checkpoint(r, 30, 10, 2);
    checkpoint(r, 40, 10, 2);
    CHECK(exists("run/step-000010") && !exists("run/step-000020") && exists("run/step-000030") &&
              exists("run/step-000040"),
          "the newest two and the best are kept");
    check_link("run/last", "step-000040");
    check_link("run/best", "step-000010");
    checkpoint(r, 1234567, 1234567, 1);
    CHECK(!exists("run/step-000010") && !exists("run/step-000040"), "what nothing points to goes");
    check_link("run/best", "step-1234567");
    CHECK(vlk_run_newest(r, &step, &b, NULL, &err) == 1 && step == 1234567 && strstr(b.data, "run/step-1234567"),
          "newest");
    b.len = 0;
    CHECK(vlk_run_begin(r, 1234567, 10, &b, &err) != 0, "a step twice: %s", err.msg);
    CHECK(vlk_run_begin(r, 1234568, SIZE_MAX / 2, &b, &err) && strstr(err.msg, "the disk has room"), "%s", err.msg);
    CHECK(vlk_run_settle(r, 1234567, 77, 1, &err) != 0, "a best that is not there: %s", err.msg);
    CHECK(vlk_run_settle(r, 1234567, 0, 1, &err) == 0 && !exists("run/best"), "no best: %s", err.msg);
    CHECK(vlk_run_begin(r, 1234568, 10, &b, &err) == 0, "%s", err.msg);
    vlk_run_abort(r, 1234568);
    CHECK(!exists("run/.step-1234568.vlk-tmp"), "an abort leaves nothing");
    vlk_run_close(r);
    char deep[260];
    snprintf(deep, sizeof deep, "%s/.step-000050.vlk-tmp", path);
    CHECK(mkdir(deep, 0777) == 0 && symlink("/etc", in(path, "run/.last.vlk-tmp")) == 0, "leftovers");
    snprintf(deep, sizeof deep, "%s/run/.step-000050.vlk-tmp/y", folder);
    CHECK(put_file(deep, "y") == 0, "a file within");
    r = vlk_run_open(in(path, "run"), 0, &err);
    CHECK(r && !exists("run/.step-000050.vlk-tmp") && !exists("run/.last.vlk-tmp"), "leftovers are removed");
    CHECK(access("/etc/passwd", R_OK) == 0, "links are not followed");
    vlk_run_close(r);
    vlk_buf_clear(&b);
}

/* ---- what is no checkpoint ------------------------------------------------------------------------ */

static void put_in(const char *name, const char *text)
{
    char path[200];
    CHECK(put_file(in(path, name), text) == 0, "%s", name);
}

static void make_folder(const char *name)
{
    char path[200];
    CHECK(mkdir(in(path, name), 0777) == 0, "%s", name);
}

/* Of step folders in every state only the complete ones count, and the others stay until one of their step is made. */
static void incomplete(void)
{
    char path[200], target[200];
    vlk_err err = {0};
    vlk_buf name = {0}, skipped = {0};
    uint64_t step = 0;
    vlk_run *r = vlk_run_open(in(path, "half"), 1, &err);
    if (!CHECK(r, "%s", err.msg))
        return;
    make_folder("half/step-000040"); /* empty */
    make_folder("half/step-000041"); /* of an earlier version, half */
    put_in("half/step-000041/model.safetensors", "x");
    make_folder("half/step-000042");
    put_in("half/step-000042/checksums", "0123\n");
    make_folder("half/step-000043");
    CHECK(mkfifo(in(path, "half/step-000043/checksums"), 0666) == 0, "a FIFO");
    CHECK(symlink(in(target, "elsewhere"), in(path, "half/step-000044")) == 0, "a link");
    put_in("half/step-000045", "a file");
    make_folder("half/step-0000046"); /* not ours */
    CHECK(vlk_run_newest(r, &step, &name, &skipped, &err) == 0, "none is complete: %s", err.msg);
    static const char *const why[] = {"step-000040/model.safetensors: No such file",
                                      "step-000041/state.safetensors: No such file",
                                      "step-000042/checksums: expected lines",
                                      "step-000043/checksums: is not a file",
                                      "step-000044: is not a folder",
                                      "step-000045: is not a folder"};
    for (size_t i = 0; i < sizeof why / sizeof *why; i++)
        CHECK(skipped.data && strstr(skipped.data, why[i]), "%s: in %s", why[i], skipped.data);
    CHECK(skipped.data && !strstr(skipped.data, "46"), "step-0000046 is not a name of ours");
    put_in("half/step-000041/state.safetensors", "x");
    CHECK(vlk_run_newest(r, &step, &name, NULL, &err) == 1 && step == 41, "of an earlier version, complete");
    CHECK(vlk_run_settle(r, 40, 0, 1, &err) && strstr(err.msg, "step-000040/model"), "no link to it: %s", err.msg);
    checkpoint(r, 30, 0, 1);
    CHECK(exists("half/step-000040") && exists("half/step-000042") && exists("half/step-000041"), "others stay");
    checkpoint(r, 40, 0, 1);
    CHECK(exists("half/step-000040/x") && !exists("half/.step-000040.vlk-old"), "one of its step replaces it");
    name.len = 0;
    CHECK(vlk_run_begin(r, 45, 10, &name, &err) != 0, "a file in the way: %s", err.msg);
    vlk_run_close(r);
    vlk_buf_clear(&name);
    vlk_buf_clear(&skipped);
}

static void damaged(void)
{
    static const char *const but_x[] = {"x", NULL};
    char path[200], sums[200];
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_run *r = vlk_run_open(in(path, "sums"), 1, &err);
    if (!CHECK(r, "%s", err.msg))
        return;
    checkpoint(r, 7, 0, 1);
    in(path, "sums/step-000007");
    CHECK(vlk_checkpoint_verify(path, NULL, &err) == 0, "%s", err.msg);
    CHECK(vlk_read_file(&b, in(sums, "sums/step-000007/checksums"), 1000, &err) == 0, "%s", err.msg);
    CHECK_STR(b.data, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  x\n",
              "as sha256sum writes it");
    put_in("sums/step-000007/x", "y");
    CHECK(vlk_checkpoint_verify(path, NULL, &err) && strstr(err.msg, "000007/x: is damaged"), "%s", err.msg);
    CHECK(vlk_checkpoint_verify(path, but_x, &err) == 0, "what is not used: %s", err.msg);
    put_in("sums/step-000007/checksums",
           "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  ../step-000007/x\n");
    CHECK(vlk_checkpoint_verify(path, NULL, &err) && strstr(err.msg, "expected lines"), "%s", err.msg);
    vlk_run_close(r);
    vlk_buf_clear(&b);
}

static void links(void)
{
    char path[200], target[200];
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_run *r = vlk_run_open(in(path, "links"), 1, &err);
    if (!CHECK(r, "%s", err.msg))
        return;
    put_in("victim", "precious");
    CHECK(symlink("../victim", in(path, "links/metrics.jsonl")) == 0, "a link");
    CHECK(vlk_run_metrics(r, 0, &err) && strstr(err.msg, "metrics.jsonl: is a link"), "%s", err.msg);
    CHECK(unlink(path) == 0 && mkfifo(path, 0666) == 0 && vlk_run_metrics(r, 0, &err) != 0, "a FIFO: %s", err.msg);
    CHECK(symlink("../victim", in(path, "links/run.json")) == 0 && vlk_run_config(r, &b, &err) < 0, "%s", err.msg);
    CHECK(vlk_read_file(&b, in(target, "victim"), 100, &err) == 0 && strcmp(b.data, "precious") == 0, "untouched");
    vlk_run_close(r);
    put_in("links/.x.npy.vlk-tmp", "of another program");
    put_in("links/.step-000001.vlk-tmp", "");
    put_in("links/.step-01.vlk-tmp", "");
    r = vlk_run_open(in(path, "links"), 0, &err);
    CHECK(r && exists("links/.x.npy.vlk-tmp") && exists("links/.step-01.vlk-tmp"), "only its own leftovers");
    CHECK(!exists("links/.step-000001.vlk-tmp"), "its own");
    vlk_run_close(r);
    vlk_buf_clear(&b);
}

static void log_text(vlk_run *r, const char *s)
{
    vlk_err err = {0};
    CHECK(vlk_run_log(r, s, strlen(s), &err) == 0, "%s", err.msg);
}

static void metrics(void)
{
    char path[200];
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_run *r = vlk_run_open(in(path, "run"), 1, &err);
    if (!CHECK(r, "%s", err.msg))
        return;
    CHECK(vlk_run_log(r, "{}", 2, &err) != 0, "not open yet: %s", err.msg);
    CHECK(vlk_run_metrics(r, 0, &err) == 0, "%s", err.msg);
    log_text(r, "{\"step\":1,\"loss\":2}");
    log_text(r, "{\"step\":2,\"loss\":2}");
    log_text(r, "{\"step\":2,\"val\":\"x\"}");
    log_text(r, "{\"step\":3,\"loss\":2}");
    vlk_run_close(r);
    in(path, "run/metrics.jsonl");
    int fd = open(path, O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, "{\"step\":4,\"lo", 13) == 13, "a line cut in the middle");
    close(fd);
    r = vlk_run_open(in(path, "run"), 0, &err);
    CHECK(r && vlk_run_metrics(r, 2, &err) == 0, "%s", err.msg);
    log_text(r, "{\"step\":3,\"loss\":9}");
    CHECK(vlk_run_metrics(r, 100, &err) == 0, "%s", err.msg);
    CHECK(vlk_read_file(&b, in(path, "run/metrics.jsonl"), 1000, &err) == 0, "%s", err.msg);
    CHECK_STR(b.data,
              "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":2}\n{\"step\":2,\"val\":\"x\"}\n"
              "{\"step\":3,\"loss\":9}\n",
              "each step once");
    CHECK(put_file(path, "{\"step\":1}\nnonsense\n") == 0, "written");
    CHECK(vlk_run_metrics(r, 5, &err) && strstr(err.msg, "line 2"), "%s", err.msg);
    vlk_run_close(r);
    vlk_buf_clear(&b);
}

/* ---- kill -9 ------------------------------------------------------------------------------------ */

enum { END = 40, EVERY = 5 };

/* A run in small: a state that depends on every step; a checkpoint every five, some of them the best so far. */
typedef struct toy {
    vlk_run *r;
    vlk_state *s;
    kept k;
    uint64_t best_step;
} toy;

static int toy_save(toy *t, vlk_err *err)
{
    vlk_buf path = {0};
    char file[300];
    if (t->k.step % 15 == 0)
        t->best_step = t->k.step;
    int rc = vlk_run_begin(t->r, t->k.step, 10000, &path, err);
    if (rc == 0) {
        snprintf(file, sizeof file, "%s/state.safetensors", path.data);
        rc = vlk_state_save(t->s, file, err) || vlk_run_commit(t->r, t->k.step, t->best_step, 2, err);
    }
    vlk_buf_clear(&path);
    return rc;
}

static int toy_resume(toy *t, vlk_err *err)
{
    vlk_buf path = {0}, config = {0};
    uint64_t step = 0;
    int rc = vlk_run_config(t->r, &config, err), found = 0;
    if (rc == 0)
        rc = vlk_run_put_config(t->r, "{\"seed\":1}\n", 11, err) == 0 ? 1 : -1;
    if (rc > 0)
        found = vlk_run_newest(t->r, &step, &path, NULL, err);
    if (rc > 0 && found > 0)
        rc = vlk_buf_adds(&path, "/state.safetensors", err) || vlk_state_load(t->s, path.data, err) ||
                     vlk_run_settle(t->r, step, t->best_step, 2, err)
                 ? -1
                 : 1;
    vlk_buf_clear(&path);
    vlk_buf_clear(&config);
    return rc < 0 || found < 0 ? -1 : vlk_run_metrics(t->r, t->k.step, err);
}

/* 0 when the run is at its end; 1 with a message. */
static int toy_run(const char *path)
{
    static const size_t dim[2] = {2, 3}, two = 2;
    vlk_err err = {0};
    toy t = {0};
    int rc = -1;
    t.r = vlk_run_open(path, 1, &err);
    t.s = vlk_state_new(&err);
    if (!t.r || !t.s || vlk_state_tensor(t.s, NULL, "w", VLK_F32, dim, 2, t.k.weights, &err) ||
        vlk_state_tensor(t.s, NULL, "i", VLK_I64, &two, 1, t.k.ids, &err) ||
        vlk_state_counter(t.s, "step", &t.k.step, &err) || vlk_state_counter(t.s, "best_step", &t.best_step, &err) ||
        toy_resume(&t, &err))
        goto out;
    while (t.k.step < END) {
        char line[100];
        const uint64_t key[4] = {1, ++t.k.step, 0, 0};
        for (size_t i = 0; i < 6; i++)
            t.k.weights[i] = t.k.weights[i] * 0.9f + (float)vlk_random_normal(key, i);
        t.k.ids[1] += (int64_t)vlk_random_below(key, 9, 1000);
        int n = snprintf(line, sizeof line, "{\"step\":%d,\"loss\":%.9g}", (int)t.k.step, (double)t.k.weights[0]);
        if (vlk_run_log(t.r, line, (size_t)n, &err) || (t.k.step % EVERY == 0 && toy_save(&t, &err)))
            goto out;
    }
    rc = 0;
out:
    if (rc != 0)
        fprintf(stderr, "toy run: %s\n", err.msg);
    vlk_state_free(t.s);
    vlk_run_close(t.r);
    return rc != 0;
}

static int is_killed(const char *path, unsigned microseconds)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(toy_run(path));
    usleep(microseconds);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "a run that was killed before went on");
    return WIFSIGNALED(status);
}

static void compare(const char *name, const char *a, const char *b)
{
    char pa[200], pb[200], full[100];
    vlk_err err = {0};
    vlk_buf x = {0}, y = {0};
    snprintf(full, sizeof full, "%s/%s", a, name);
    int ok = vlk_read_file(&x, in(pa, full), 1 << 20, &err) == 0;
    snprintf(full, sizeof full, "%s/%s", b, name);
    ok = ok && vlk_read_file(&y, in(pb, full), 1 << 20, &err) == 0;
    CHECK(ok && x.len == y.len && memcmp(x.data, y.data, x.len) == 0, "%s is the same: %s", name, err.msg);
    vlk_buf_clear(&x);
    vlk_buf_clear(&y);
}

/* The folder holds only what belongs there. */
static void names_of(const char *name)
{
    static const char *const want[] = {"best",        "last",        "metrics.jsonl", "run.json",
                                       "step-000030", "step-000035", "step-000040"};
    enum { NAMES = sizeof want / sizeof *want };
    char path[200];
    size_t known = 0, other = 0;
    DIR *d = opendir(in(path, name));
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        size_t i = 0;
        while (i < NAMES && strcmp(e->d_name, want[i]) != 0)
            i++;
        known += i < NAMES;
        other += i == NAMES && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    if (d)
        closedir(d);
    CHECK(known == NAMES && other == 0, "%s: %zu of %d names and %zu others", name, known, NAMES, other);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void killed(void)
{
    static const char *const names[] = {"run.json", "metrics.jsonl", "last/state.safetensors", "best/state.safetensors",
                                        "step-000035/state.safetensors"};
    enum { RUNS = 4, KILLS = 20 };
    char path[200], name[32];
    int kills = 0;
    double begin = now();
    CHECK(toy_run(in(path, "whole")) == 0, "a run that is left alone");
    uint64_t length = (uint64_t)((now() - begin) * 1e6) + 1000;
    for (int i = 0; i < RUNS; i++) {
        snprintf(name, sizeof name, "killed-%d", i);
        for (uint64_t j = 0; j < KILLS; j++) { /* each time it does at most about a quarter of its steps */
            const uint64_t key[4] = {77, (uint64_t)i, 0, 0};
            kills += is_killed(in(path, name), (unsigned)vlk_random_below(key, j, length / 2));
        }
        CHECK(toy_run(in(path, name)) == 0, "it goes on to its end");
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            compare(names[j], "whole", name);
        names_of(name);
    }
    CHECK(kills > 0, "%d of %d were killed", kills, RUNS * KILLS);
    CHECK(toy_run(in(path, "whole")) == 0, "a finished run does nothing");
    names_of("whole");
    printf("# %d kills in runs of %d us\n", kills, (int)length);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    states();
    folders();
    incomplete();
    damaged();
    links();
    metrics();
    killed();
    CHECK(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0, "removed");
    return tap_end();
}
