/* test_loop.c - the loop, sinks and parts with a program that knows no model: several columns, several lines per item,
 * matrices as rows, members of its own in tars, items that fail in each place, reruns.
 *
 * The program "toy" takes texts (the words of a line, each with its length) or images (the value of a corner). */
#include "../scratch.h"
#include "../tap.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "../../tools/common/loop.h"

static char dir[] = "/tmp/vlk-loop-XXXXXX";

typedef enum toy_mode { TOY_WORDS, TOY_MATRIX, TOY_IMAGES } toy_mode;

typedef struct toy {
    loop l;
    toy_mode mode;
    float values[6]; /* (2,3), of the current item */
} toy;

/* Lines that begin with '!' cannot be computed. */
static int batch(void *arg, const vlk_batch *b, vlk_err *err)
{
    (void)arg;
    for (size_t row = 0; row < b->rows; row++) {
        vlk_item *it = b->item[b->item_of[row]];
        if (it->row != row)
            return vlk_fail(err, VLK_EVALUE, "row %zu leads to the item of row %zu", row, it->row);
        if (it->kind == VLK_ITEM_TEXT && it->key.n > 0 && it->key.s[0] == '!') {
            it->stage = "toy";
            vlk_fail(&it->err, VLK_EFORMAT, "not for us");
        }
    }
    return 0;
}

/* A line for each word: key, word, length. Lines that begin with '?' cannot be written. */
static int write_words(const vlk_item *it, sink *s, vlk_err *err)
{
    table_row *t = &s->table;
    const char *p = it->key.s, *end = p + it->key.n;
    if (it->key.n > 0 && *p == '?') {
        vlk_fail(err, VLK_EFORMAT, "does not fit");
        return 1;
    }
    for (const char *q; p < end; p = q + 1) {
        const char *blank = memchr(p, ' ', (size_t)(end - p));
        q = blank ? blank : end;
        if (row_text(t, "key", it->key.s, it->key.n, err) || row_text(t, "word", p, (size_t)(q - p), err) ||
            row_count(t, "n", (uint64_t)(q - p), err) || row_end(t, err))
            return -1;
    }
    return 0;
}

/* (2,3): length, 0 .. 4; a line that begins with '9' has a value beyond the range of half floats. */
static int write_matrix(toy *t, const vlk_item *it, sink *s, vlk_err *err)
{
    for (int i = 0; i < 6; i++)
        t->values[i] = i == 0 ? (float)it->key.n : (float)i - 1;
    if (it->key.n > 0 && it->key.s[0] == '9')
        t->values[5] = 1e6f;
    return sink_row(s, t->values, err);
}

static int write_members(const vlk_batch *b, const vlk_item *it, sink *s, vlk_err *err)
{
    size_t one = 1;
    float corner = b->pixels[it->row * 16 * 16 * 3];
    int r = sink_member_npy(s, "toy.npy", &corner, &one, 1, err);
    if (r == 0)
        r = sink_member(s, "toy.txt", "seen", 4, err);
    return r ? r : sink_member_json(s, "toy.json", "\"corner\": 7", err);
}

static int item(void *arg, const vlk_batch *b, size_t i, sink *s, vlk_err *err)
{
    toy *t = arg;
    const vlk_item *it = b->item[i];
    return t->mode == TOY_WORDS    ? write_words(it, s, err)
           : t->mode == TOY_MATRIX ? write_matrix(t, it, s, err)
                                   : write_members(b, it, s, err);
}

/* What a run was asked for. */
typedef struct order {
    toy_mode mode;
    cli_format format;
    const char *input[3], *output, *errors, *program;
    size_t rows;
    vlk_dtype type;
    int replace;
} order;

static const cli_option no_options[] = {{.name = NULL}};

/* In a child, since the end of a run closes standard output. Returns the status. */
static int run(const order *o)
{
    static const char *const member[] = {"toy.npy", "toy.txt", "toy.json", NULL};
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int log = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
            _exit(99);
        cli_program prog = {.name = o->program ? o->program : "toy", .options = no_options};
        cli_common c = {.output = o->output, .errors = o->errors, .rows = o->rows, .threads = 2};
        c.operand = (char **)(uintptr_t)o->input; /* a command line has its strings without const */
        while (c.operands < 3 && o->input[c.operands])
            c.operands++;
        cli_run *r = cli_run_open(&prog, &c);
        toy t = {.mode = o->mode};
        t.l = (loop){.c = &c, .run = r, .batch = batch, .item = item, .arg = &t};
        loop_feed(&t.l.feed, &c, o->mode == TOY_IMAGES ? VLK_FEED_IMAGES : VLK_FEED_TEXTS);
        t.l.feed.batch = 3;
        vlk_preprocess_openai(&t.l.feed.preprocess, 16);
        t.l.plan = (sink_plan){.format = o->format,
                               .type = o->type,
                               .dim = {2, 3},
                               .rank = 2,
                               .member = member,
                               .replace = o->replace,
                               .made = {.model = "none", .tower = "toy", .arithmetic = "f32", .arguments = "{}"}};
        snprintf(t.l.plan.made.program, sizeof t.l.plan.made.program, "%s", prog.name);
        provenance_shape(&t.l.plan.made, o->type, t.l.plan.dim, 2);
        loop_run(&t.l);
        _exit(cli_run_end(r));
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "wb");
    CHECK(f && fputs(text, f) >= 0, "write %s", name);
    if (f)
        fclose(f);
}

static const char *get(const char *name)
{
    static vlk_buf b;
    vlk_err err;
    if (vlk_read_file(&b, name, 1 << 20, &err))
        return "(no such file)";
    return b.data ? b.data : "";
}

static int exists(const char *name)
{
    return access(name, F_OK) == 0;
}

/* ---- tables ------------------------------------------------------------------------------------ */

static void test_table(void)
{
    order o = {.mode = TOY_WORDS, .format = CLI_TSV, .input = {"a.txt"}, .output = "w.tsv", .errors = "w.err"};
    put("a.txt", "one two\n!bad\n\nfour\n?odd\n");
    CHECK(run(&o) == 1, "bad items: status 1");
    CHECK_STR(get("w.tsv"), "one two\tone\t3\none two\ttwo\t3\nfour\tfour\t4\n", "lines of items, in order");
    CHECK_STR(get("w.err"),
              "{\"item\": \"!bad\", \"stage\": \"toy\", \"reason\": \"not for us\"}\n"
              "{\"item\": \"?odd\", \"stage\": \"output\", \"reason\": \"does not fit\"}\n",
              "what is not out is among the errors");
    o.format = CLI_JSONL;
    o.output = "w.jsonl";
    put("a.txt", "one two\n");
    CHECK(run(&o) == 0, "status 0");
    CHECK_STR(
        get("w.jsonl"),
        "{\"key\": \"one two\", \"word\": \"one\", \"n\": 3}\n{\"key\": \"one two\", \"word\": \"two\", \"n\": 3}\n",
        "jsonl");
    o.input[1] = "a.txt";
    o.input[0] = "nowhere.txt";
    o.output = "x.jsonl";
    CHECK(run(&o) == 2 && !exists("x.jsonl") && !exists(".x.jsonl.vlk-tmp"), "a broken source: no output");
    CHECK(strstr(get("log"), "toy: nowhere.txt: "), "it is reported: %s", get("log"));
}

/* ---- matrices ---------------------------------------------------------------------------------- */

static void test_matrix(void)
{
    order o = {.mode = TOY_MATRIX, .format = CLI_NPY, .input = {"m.txt"}, .output = "m.npy"};
    vlk_npy n;
    vlk_err err = {0};
    provenance p;
    put("m.txt", "ab\n9\na\n\nabcd\n");
    CHECK(run(&o) == 0, "status 0");
    if (CHECK(vlk_npy_open(&n, "m.npy", &err) == 0, "%s", err.msg)) {
        const float *v = n.t.data;
        CHECK(n.t.rank == 3 && n.t.dim[0] == 5 && n.t.dim[1] == 2 && n.t.dim[2] == 3, "shape (5,2,3)");
        CHECK(v[0] == 2 && v[6] == 1 && v[11] == 1e6f && v[24] == 4 && v[29] == 4, "values");
        vlk_npy_close(&n);
    }
    CHECK_STR(get("m.keys"), "ab\n9\na\n\nabcd\n", "a key for each row");
    CHECK(strstr(get("m.json"), "\"program\": \"toy\"") &&
              strstr(get("m.json"), "\"rows\": 5, \"dim\": [2, 3], \"keys_sha256\": \""),
          "provenance: %s", get("m.json"));
    CHECK(provenance_load(&p, "m.json", &err) == 0 && p.rank == 2 && p.dim[0] == 2 && p.dim[1] == 3 && p.rows == 5,
          "read again: %s", err.msg);
    o.type = VLK_F16;
    o.output = "h.npy";
    CHECK(run(&o) == 2 && !exists("h.npy") && !exists("h.keys"), "a value beyond half floats: no output");
    CHECK(strstr(get("log"), "toy: 9: its vector has 1e+06, too large for --half"), "the item is reported: %s",
          get("log"));
    put("m.txt", "ab\na\n");
    CHECK(run(&o) == 0 && vlk_npy_open(&n, "h.npy", &err) == 0, "half floats: %s", err.msg);
    CHECK(n.t.dtype == VLK_F16 && vlk_f16_to_f32(((const uint16_t *)n.t.data)[6]) == 1, "values");
    vlk_npy_close(&n);
}

/* ---- parts ---------------------------------------------------------------------------------------- */

static void test_parts(void)
{
    order o = {.mode = TOY_WORDS, .format = CLI_JSONL, .input = {"p.txt", "q.txt"}, .output = "out/", .rows = 2};
    put("p.txt", "a\n!b\nc\nd\ne f\ng\n");
    put("q.txt", "x\n");
    CHECK(run(&o) == 1, "status 1");
    CHECK_STR(get("out/p-00000.jsonl"),
              "{\"key\": \"a\", \"word\": \"a\", \"n\": 1}\n{\"key\": \"c\", \"word\": \"c\", \"n\": 1}\n",
              "two items");
    CHECK_STR(get("out/p-00001.keys"), "d\ne f\n", "keys of the second part");
    CHECK(exists("out/p-00002.json") && exists("out/q-00000.jsonl") && !exists("out/p-00003.json"), "all parts");
    CHECK(remove("out/p-00001.jsonl") == 0 && run(&o) == 1, "a rerun");
    CHECK(strstr(get("out/p-00001.jsonl"), "\"key\": \"e f\", \"word\": \"f\""), "makes what is missing");
    CHECK(strstr(get("log"), "toy: !b: not for us"), "and reports the bad item again: %s", get("log"));
    put("p.txt", "a\nb\nc\nd\ne f\ng\n");
    CHECK(run(&o) == 2 && strstr(get("log"), "it has no b at this place"), "an item that became good: %s", get("log"));
    o.program = "other";
    CHECK(run(&o) == 2 && strstr(get("log"), "another program: found toy, expected other"), "another program's: %s",
          get("log"));
}

/* ---- tars ----------------------------------------------------------------------------------------- */

static void put_tar(const char *name, const char *const *member)
{
    vlk_err err = {0};
    vlk_buf png = {0};
    uint8_t rgb[20 * 20 * 3];
    vlk_out *o = vlk_out_open(name, &err);
    memset(rgb, 7, sizeof rgb);
    int bad = !o || vlk_png_write(&png, rgb, 20, 20, &err);
    for (; !bad && *member; member++) {
        size_t n = strlen(*member);
        int image = n > 4 && strcmp(*member + n - 4, ".png") == 0;
        bad = vlk_tar_put(o, *member, image ? png.data : "text", image ? png.len : 4, &err);
    }
    CHECK(!bad && !vlk_tar_put_end(o, &err) && !vlk_out_commit(o, &err), "%s: %s", name, err.msg);
    vlk_buf_clear(&png);
}

/* The names of all members, with a blank after each. */
static const char *names(const char *path)
{
    static vlk_buf b;
    static vlk_err err;
    vlk_tar_member m;
    vlk_in *in = vlk_in_open(path, &err);
    vlk_tar *t = in ? vlk_tar_open(in, &err) : NULL;
    int r = t ? 1 : -1;
    b.len = 0;
    while (t && (r = vlk_tar_next(t, &m, &err)) == 1)
        if (vlk_buf_addf(&b, &err, "%s ", m.name))
            break;
    vlk_tar_close(t);
    vlk_in_close(in);
    return r == 0 ? b.data : err.msg;
}

static void test_tar(void)
{
    static const char *const given[] = {"a.png", "a.txt", "b.txt", "c.png", "c.toy.txt", NULL};
    order o = {.mode = TOY_IMAGES, .format = CLI_TAR, .input = {"i.tar"}, .output = "o.tar"};
    put_tar("i.tar", given);
    CHECK(run(&o) == 1, "a sample without an image, one with our member: status 1");
    CHECK_STR(names("o.tar"), "a.png a.txt a.toy.npy a.toy.txt a.toy.json b.txt c.png c.toy.txt ",
              "members of ours follow the sample's");
    CHECK(strstr(get("log"), "c.toy.txt is there already (--replace replaces it)"), "%s", get("log"));
    o.replace = 1;
    CHECK(run(&o) == 1, "replace");
    CHECK_STR(names("o.tar"), "a.png a.txt a.toy.npy a.toy.txt a.toy.json b.txt c.png c.toy.npy c.toy.txt c.toy.json ",
              "the given member is left out");
    o.input[0] = "i.tar";
    o.output = "parts/";
    o.rows = 1;
    CHECK(run(&o) == 1 && exists("parts/i-00001.tar"), "parts");
    CHECK_STR(names("parts/i-00000.tar"), "a.png a.txt a.toy.npy a.toy.txt a.toy.json b.txt ",
              "what has no row is in the part of the row before it");
}

int main(void)
{
    if (!CHECK(mkdtemp(dir) && chdir(dir) == 0, "%s", dir))
        return tap_end();
    test_table();
    test_matrix();
    test_parts();
    test_tar();
    CHECK(chdir("/") == 0 && scratch_remove(dir) == 0, "%s is removed", dir);
    return tap_end();
}
