/* test_cli_options.c - the option layer: what each kind of row takes and refuses, words, roles, aliases, numbers that
 * may be missing, --help and --print-options, values to JSON and back. Misuse ends a program, so that it runs in a
 * child. */
#include "../tap.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../tools/cli/table.h"

typedef enum colour { RED = 3, GREEN = 7 } colour;

typedef struct options {
    int flag, alone;
    const char *name, *place;
    cli_strs many, places;
    size_t small, any;
    double number;
    colour colour;
    int pair[2];
} options;

static const cli_word colours[] = {{"red", RED}, {"green", GREEN}, {NULL, 0}};

static int parse_pair(void *value, const char *arg, vlk_err *err)
{
    int *pair = value;
    if (strlen(arg) != 3 || arg[1] != ':')
        return vlk_fail(err, VLK_EUSAGE, "'%s' is not A:B", arg);
    pair[0] = arg[0] - '0';
    pair[1] = arg[2] - '0';
    return 0;
}

static int put_second(const void *value, vlk_buf *out, vlk_err *err)
{
    return vlk_buf_addf(out, err, "%d", *(const int *)value);
}

static int get_second(void *value, const vlk_json *j, const char *name, vlk_err *err)
{
    int64_t v = 0;
    if (vlk_json_int(j, 0, 9, &v, name, err))
        return -1;
    *(int *)value = (int)v;
    return 0;
}

static const cli_form pair_form = {.parse = parse_pair};
static const cli_form second_form = {.put = put_second, .get = get_second};

#define OPTIONS_OF options

static const cli_option own[] = {
    {FLAG('f', "flag", flag, "first, without a heading"), VALUE},
    {GROUP("Second heading")},
    {STR('n', "name", name, "NAME", "a name"), SCORE},
    {STR(0, "place", place, "FILE", "a path"), PLACE},
    {STRS(0, "many", many, "WORD", "may be repeated"), FREE},
    {STRS(0, "places", places, "FILE", "may be repeated"), PLACE},
    {SIZE('s', "small", small, "N", 2, 9, "two to nine"), LENGTH},
    {SIZE(0, "any", any, "N", 0, 0, "any that is not negative"), NOW},
    {NUM(0, "number", number, "X", -1, 1,
         "a text that is much longer than a line of the terminal has room for, so that it has to be wrapped twice"),
     OR_ALONE(alone), VALUE},
    {WORD(0, "colour", colour, colours, "one of the words"), VALUE},
    {FORM(0, "pair", pair, pair_form, "A:B", "two digits"), VALUE},
    {RECORD("second", pair[1], second_form), VALUE},
    {ALIAS("old-name", "name")},
    {END}};

static const cli_program program = {
    .name = "tester", .synopsis = "[OPTION]...", .about = "Tests.", .options = own, .common = CLI_IMAGES | CLI_THREADS};

enum { MAX_WORDS = 30 };

/* The words of `line`, separated by spaces, after the name of the program; "" is written as '_'. */
static int split(char *line, char **argv)
{
    int n = 0;
    argv[n++] = line; /* the name does not matter */
    for (char *w = strtok_r(line, " ", &line); w && n < MAX_WORDS; w = strtok_r(NULL, " ", &line))
        argv[n++] = strcmp(w, "_") == 0 ? w + 1 : w;
    argv[n] = NULL;
    return n;
}

static char words[512];

static options parse(const char *line, cli_common *c)
{
    static char *argv[MAX_WORDS + 1]; /* operands point into it */
    options o = {0};
    snprintf(words, sizeof words, "%s", line);
    cli_parse(&program, &o, c, split(words, argv), argv);
    return o;
}

static char output[16384];

/* Runs the command line in a child; what it wrote (both streams) comes to `output`. Returns its status. */
static int status_of(const char *line)
{
    int fd[2], status = -1;
    if (pipe(fd))
        return -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        dup2(fd[1], STDERR_FILENO);
        close(fd[0]);
        close(fd[1]);
        cli_common c;
        parse(line, &c);
        _exit(0);
    }
    close(fd[1]);
    size_t n = 0;
    for (ssize_t r; n < sizeof output - 1 && (r = read(fd[0], output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)r;
    output[n] = 0;
    close(fd[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_values(void)
{
    cli_common c;
    options o =
        parse("-f --name=x --many a --many b -s9 --any 0 --number=-0.5 --colour green --pair 1:2 -j 3 rest", &c);
    CHECK(o.flag == 1 && o.alone == 0, "flags: %d %d", o.flag, o.alone);
    CHECK_STR(o.name, "x", "a string");
    CHECK(o.many.n == 2 && strcmp(o.many.s[0], "a") == 0 && strcmp(o.many.s[1], "b") == 0, "%zu strings", o.many.n);
    CHECK(o.small == 9 && o.any == 0, "sizes: %zu %zu", o.small, o.any);
    CHECK(o.number == -0.5, "a number: %g", o.number);
    CHECK(o.colour == GREEN, "a word is its value, not its place: %d", (int)o.colour);
    CHECK(o.pair[0] == 1 && o.pair[1] == 2, "a form: %d %d", o.pair[0], o.pair[1]);
    CHECK(c.threads == 3, "a common option: %zu", c.threads);
    CHECK(c.operands == 1 && strcmp(c.operand[0], "rest") == 0, "%zu operands", c.operands);
    free(o.many.s);

    o = parse("--alpha white --no-exif --max-pixels 12", &c);
    CHECK(c.pixels.alpha == VLK_ALPHA_WHITE && c.pixels.no_exif == 1 && c.pixels.max_pixels == 12, "nested fields");
    CHECK(c.threads >= 1, "threads have a default: %zu", c.threads);

    o = parse("--old-name y", &c);
    CHECK_STR(o.name, "y", "an alias");
    o = parse("--number", &c);
    CHECK(o.alone == 1 && o.number == 0, "a number that is missing at the end: %d %g", o.alone, o.number);
    o = parse("--number -f", &c);
    CHECK(o.alone == 1 && o.flag == 1, "a number that is missing before an option: %d %d", o.alone, o.flag);
    o = parse("a --number 0.25 b", &c);
    CHECK(o.alone == 0 && o.number == 0.25 && c.operands == 2, "a number among operands: %g %zu", o.number, c.operands);
    o = parse("--number=-0.25", &c);
    CHECK(o.alone == 0 && o.number == -0.25, "a negative number: %g", o.number);
}

/* A second reading keeps what it does not set. */
static void test_over(void)
{
    cli_common c;
    options o = parse("--name x -s 3 -j 2 a", &c);
    char line[] = "-s 4 b c", *argv[MAX_WORDS + 1];
    int argc = split(line, argv);
    cli_parse_over(&program, &o, &c, argc, argv);
    CHECK_STR(o.name, "x", "kept");
    CHECK(o.small == 4 && c.threads == 2 && c.operands == 2, "%zu %zu %zu", o.small, c.threads, c.operands);
}

static void test_misuse(void)
{
    static const struct {
        const char *line, *message;
    } t[] = {{"-s 1", "--small: '1' is not a whole number from 2 to 9"},
             {"-s 10", "--small: '10' is not a whole number from 2 to 9"},
             {"-s 3x", "--small: '3x' is not a whole number from 2 to 9"},
             {"--any -1", "--any: '-1' is not a whole number of 0 or more"},
             {"--number=2", "--number: '2' is not a number from -1 to 1"},
             {"--number nan", "--number: 'nan' is not a number from -1 to 1"},
             {"--colour blue", "--colour: 'blue' is not one of red, green"},
             {"--colour _", "--colour: '' is not one of red, green"},
             {"--pair 12", "--pair: '12' is not A:B"},
             {"--name _", "--name: the NAME is empty"},
             {"--old-name _", "--name: the NAME is empty"},
             {"--name", "option '--name' needs an argument"},
             {"-n", "option '-n' needs an argument"},
             {"--flag=1", "option '--flag' takes no argument"},
             {"--help=1", "option '--help=1' takes no argument"},
             {"-z", "unknown option '-z'"},
             {"--zebra", "unknown option '--zebra'"},
             {"--falg", "unknown option '--falg': is --flag meant?"},
             {"--nmae=x", "unknown option '--nmae=x': is --name meant?"},
             {"--m 1", "ambiguous option '--m': --many, --max-pixels"},
             {"--second 1", "unknown option '--second'"},
             {"--dtype f32", "unknown option '--dtype'"},
             {"-j 0", "--threads: '0' is not a whole number from 1 to 1024"}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char expected[512];
        snprintf(expected, sizeof expected, "tester: %s\nTry 'tester --help' for more information.\n", t[i].message);
        CHECK(status_of(t[i].line) == 2, "%s: status", t[i].line);
        CHECK_STR(output, expected, t[i].line);
    }
}

static void test_help(void)
{
    CHECK(status_of("--help") == 0, "--help");
    CHECK(strstr(output, "\nOptions:\n  -f, --flag                  first, without a heading\n\nSecond heading:\n"),
          "%s", output);
    CHECK(strstr(output, "      --colour red|green      one of the words\n"), "a metavar made from words: %s", output);
    CHECK(strstr(output, "a text that is much longer than a line of the\n"), "wrapped: %s", output);
    CHECK(!strstr(output, "--second") && !strstr(output, "--old-name"), "records and aliases are not shown");
    CHECK(strstr(output, "--alpha") && !strstr(output, "--dtype"), "common options that the program has");
    char *rest = output;
    for (char *l = strtok_r(output, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
        CHECK(strlen(l) <= 80, "80 columns: %s", l);

    CHECK(status_of("--print-options") == 0, "--print-options");
    CHECK(strstr(output, "f\tflag\t-\tfirst, without a heading\tvalue\n"), "%s", output);
    CHECK(strstr(output, "-\tcolour\tred|green\tone of the words\tvalue\n"), "%s", output);
    CHECK(strstr(output, "s\tsmall\tN\ttwo to nine\tlength\n"), "%s", output);
    CHECK(strstr(output, "-\tplace\tFILE\ta path\tplace\n") && strstr(output, "\tscore\n") &&
              strstr(output, "\tfree\n") && strstr(output, "\tnow\n"),
          "roles: %s", output);
    CHECK(!strstr(output, "second") && !strstr(output, "old-name"), "records and aliases are not shown: %s", output);
}

static const cli_option *row(const char *name)
{
    cli_walk w = {.prog = &program};
    const cli_option *o;
    while ((o = cli_walk_next(&w)) && strcmp(o->name, name) != 0)
        continue;
    return o;
}

static void check_json(const char *name, options *o, cli_common *c, const char *expected)
{
    vlk_buf b = {0};
    vlk_err err = {0};
    const cli_option *r = row(name);
    if (CHECK(r && cli_put_json(r, cli_value_of(r, o, c), &b, &err) == 0, "%s: %s", name, err.msg))
        CHECK_STR(b.data, expected, name);
    vlk_buf_clear(&b);
}

static void test_json(void)
{
    cli_common c;
    vlk_err err = {0};
    char cwd[4096], expected[8300];
    const char *there = "tests/tap.h";
    options o = parse("-f --name a\"b -s 5 --number 0.1 --colour red --pair 1:2 --many x --alpha black", &c);
    CHECK(getcwd(cwd, sizeof cwd), "a working folder");
    check_json("flag", &o, &c, "true");
    check_json("name", &o, &c, "\"a\\\"b\"");
    check_json("place", &o, &c, "null");
    check_json("many", &o, &c, "[\"x\"]");
    check_json("places", &o, &c, "[]");
    check_json("small", &o, &c, "5");
    check_json("number", &o, &c, "0.1");
    check_json("colour", &o, &c, "\"red\"");
    check_json("second", &o, &c, "2");
    check_json("alpha", &o, &c, "\"black\"");
    free(o.many.s);

    /* a path is absolute if there is such a file, those of a list always, on both sides of :: */
    o = (options){.place = there};
    snprintf(expected, sizeof expected, "\"%s/%s\"", cwd, there);
    check_json("place", &o, &c, expected);
    o.place = "no-such-model";
    check_json("place", &o, &c, "\"no-such-model\"");
    CHECK(cli_strs_add(&o.places, "a{0..9}::/b::c", &err) == 0, "%s", err.msg);
    snprintf(expected, sizeof expected, "[\"%s/a{0..9}::/b::%s/c\"]", cwd, cwd);
    check_json("places", &o, &c, expected);
    free(o.places.s);

    /* and back: also what the command line would refuse, since a default may lie outside */
    static const char text[] =
        "{\"flag\": true, \"name\": null, \"many\": [\"p\", \"q\"], \"small\": 1, \"number\": -7.5, "
        "\"colour\": \"green\", \"second\": 4, \"alpha\": \"white\"}";
    vlk_json *j = vlk_json_parse(text, sizeof text - 1, "text", &err);
    o = (options){.name = "before"};
    if (CHECK(j, "%s", err.msg)) {
        const char *const names[] = {"flag", "name", "many", "small", "number", "colour", "second", "alpha"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const cli_option *r = row(names[i]);
            CHECK(cli_get_json(r, cli_value_of(r, &o, &c), vlk_json_get(j, names[i]), &err) == 0, "%s", err.msg);
        }
        CHECK(o.flag == 1 && !o.name && o.many.n == 2 && o.small == 1 && o.number == -7.5, "read back");
        CHECK(o.colour == GREEN && o.pair[1] == 4 && c.pixels.alpha == VLK_ALPHA_WHITE, "read back");
    }
    free(o.many.s);
    vlk_json_free(j);
}

static void test_bad_json(void)
{
    static const struct {
        const char *name, *json, *message;
    } t[] = {{"colour", "[\"blue\"]", "\"colour\": blue is not one of the known words"},
             {"colour", "[3]", "\"colour\": what it holds is not one of the known words"},
             {"many", "[[\"a\", 1]]", "\"many\": expected strings"},
             {"small", "[-1]", "small"},
             {"flag", "[1]", "flag"},
             {"number", "[\"1\"]", "number"}};
    cli_common c;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vlk_err err = {0};
        options o = {0};
        const cli_option *r = row(t[i].name);
        vlk_json *j = vlk_json_parse(t[i].json, strlen(t[i].json), "text", &err);
        CHECK(cli_get_json(r, cli_value_of(r, &o, &c), vlk_json_at(j, 0), &err) == -1 && strstr(err.msg, t[i].message),
              "%s: %s", t[i].json, err.msg);
        free(o.many.s);
        vlk_json_free(j);
    }
}

static void test_words(void)
{
    int value = 5;
    CHECK_STR(cli_word_of(cli_dtype_words, VLK_BF16), "bf16", "a word of a value");
    CHECK(!cli_word_of(cli_dtype_words, VLK_I64), "a value without a word");
    CHECK(cli_word_value(cli_alpha_words, "drop", &value) == 0 && value == VLK_ALPHA_DROP, "a value of a word");
    CHECK(cli_word_value(cli_alpha_words, "grey", &value) == -1 && value == VLK_ALPHA_DROP, "no word: unchanged");
}

int main(void)
{
    test_values();
    test_over();
    test_misuse();
    test_help();
    test_json();
    test_bad_json();
    test_words();
    return tap_end();
}
