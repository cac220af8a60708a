/* test_unicode.c - characters and cleaning below the tokenizers, seen through their face: how a text is cut into
 * words, and which texts become the same. With the vocabulary of no merges every byte is its own token, so that ids
 * spell the cleaned text: id / 256 = 1 ends a word. Expected texts: Python 3.11, ftfy 6.3 and regex. */
#include "../tap.h"
#include "../../lib/prep/prep.h"

#include <stdlib.h>
#include <unistd.h>

static vlk_err err;
static vlk_tokenizer *dialect[3];

/* The byte of an id in OpenAI's order. */
static int byte_of(int32_t id)
{
    int n = id % 256;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < 256; b++) {
            int shown = (b > 32 && b < 127) || (b > 160 && b != 173);
            if (shown != pass && n-- == 0)
                return b;
        }
    return -1;
}

/* Words of the text, "|" between them; START and END for special tokens in it. */
static void words(vlk_buf *out, vlk_bpe_dialect d, const char *text, size_t n)
{
    vlk_ids ids = {0};
    out->len = 0;
    if (vlk_tokenizer_encode(dialect[d], &ids, text, n, &err))
        ids.len = 0;
    int rc = vlk_buf_adds(out, "", &err);
    for (size_t i = 1; i + 1 < ids.len; i++) {
        char byte = (char)byte_of(ids.id[i]);
        int special = ids.id[i] >= 512;
        rc |= special ? vlk_buf_adds(out, ids.id[i] == 512 ? "START" : "END", &err) : vlk_buf_add(out, &byte, 1, &err);
        if ((special || ids.id[i] >= 256) && i + 2 < ids.len)
            rc |= vlk_buf_adds(out, "|", &err);
    }
    CHECK(rc == 0, "memory");
    free(ids.id);
}

static void says(vlk_bpe_dialect d, const char *text, size_t n, const char *want, int line)
{
    vlk_buf out = {0};
    words(&out, d, text, n);
    tap_check(strcmp(out.data, want) == 0, __FILE__, line, "words", "\"%s\" gives \"%s\", expected \"%s\"", text,
              out.data, want);
    vlk_buf_clear(&out);
}

#define OPENAI(text, want) says(VLK_BPE_OPENAI, text, sizeof(text) - 1, want, __LINE__)
#define CLIP(text, want) says(VLK_BPE_OPEN_CLIP, text, sizeof(text) - 1, want, __LINE__)
#define HF(text, want) says(VLK_BPE_HF, text, sizeof(text) - 1, want, __LINE__)
#define BOTH(text, want) (OPENAI(text, want), HF(text, want))

static void pattern(void)
{
    BOTH("", "");
    BOTH(" \t\n ", "");
    BOTH("A photo of 123 dogs!!", "a|photo|of|1|2|3|dogs|!!");
    BOTH("it's IT'S don't We'Ll you've I'm he'd they're", "it|'s|it|'s|don|'t|we|'ll|you|'ve|i|'m|he|'d|they|'re");
    BOTH("'Sam 'rest 'x ''s !'s", "'s|am|'re|st|'|x|''|s|!'|s");
    BOTH("a_b-c#d", "a|_|b|-|c|#|d");
    BOTH("caf\u00e9 \u00c0B", "caf\u00e9|\u00e0b");
    BOTH("x\u00b2 \u00bd \u2167 \u0663", "x|\u00b2|\u00bd|\u2177|\u0663");
    BOTH("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e\u0938|\u094d|\u0924|\u0947"); /* marks split words */
    BOTH("a\u00a0b\u1680c\u2000d\u202fe\u205ff\u3000g", "a|b|c|d|e|f|g");
    BOTH("a\u200bb", "a|\u200b|b"); /* no white space */
    BOTH("\U0001F600 \U0001F44D\U0001F3FD", "\U0001F600|\U0001F44D\U0001F3FD");
    HF("'\u017f", "'|\u017f");
    OPENAI("'\u017f '\u017fa", "'\u017f|'\u017f|a"); /* a long s is an s where case is ignored */
    OPENAI("a\u0345b", "a|b");
    HF("a\u0345b", "a|\u0345|b");
}

static void specials(void)
{
    BOTH("<|startoftext|> a <|ENDOFTEXT|>", "START|a|END");
    OPENAI("!<|endoftext|>", "!<||endoftext||>"); /* a run of signs goes first */
    HF("!<|endoftext|>", "!|END");
    BOTH("x<|endoftext|>y", "x|END|y");
    OPENAI("<|\u017ftartoftext|>", "<|\u017ftartoftext|>"); /* matched as a whole, but no token */
    HF("<|\u017ftartoftext|>", "<||\u017ftartoftext||>");
    CLIP("<start_of_text> <END_of_text> <|endoftext|>", "START|END|<||endoftext||>");
    OPENAI("<start_of_text>", "<|start|_|of|_|text|>");
    BOTH("<|endoftext|", "<||endoftext||");
    BOTH("<||endoftext|>", "<|||endoftext||>");
}

static void case_and_forms(void)
{
    OPENAI("\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
           "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"); /* final sigma */
    HF("\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3");
    OPENAI("\u03a3 A\u03a3. A\u03a3.B 1\u03a3", "\u03c3|a\u03c2|.|a\u03c3|.|b|1|\u03c3");
    OPENAI("A\u03a3\u0301 A\u03a3\u0301A \u24b6\u03a3", "a\u03c2|\u0301|a\u03c3|\u0301|a|\u24d0|\u03c2");
    BOTH("\u0130\u212a\u00c5", "i|\u0307|k\u00e5");
    BOTH("e\u0301 A\u030a o\u0323\u0302", "\u00e9|\u00e5|\u1ed9");
    BOTH("o\u0302\u0323", "\u1ed9"); /* order of the marks */
    BOTH("\u1100\u1161\u11a8 \uac00\u11a8", "\uac01|\uac01");
    BOTH("\u0958", "\u0915|\u093c"); /* excluded from composition */
    BOTH("\u1e9b\u0323", "\u1e9b|\u0323");
    HF("\ufb01 \uff21", "\ufb01|\uff41"); /* compatibility forms stay */
}

/* Characters that came after Unicode 15.0: Rust knows those of 16, Python's regex later ones too. */
static void newer(void)
{
    BOTH("a\U000105c0b", "a\U000105c0b");
    OPENAI("a\u209fb", "a\u209fb");
    HF("a\u209fb", "a|\u209f|b");
    BOTH("\U00016130\U00016131", "\U00016130|\U00016131");
    HF("\u1c89\ua7cb\U00010d50", "\u1c8a\u0264\U00010d70");
    OPENAI("\u1c89", "\u1c89"); /* Python 3.11 lower-cases by Unicode 14 */
    OPENAI("q\u0301\u0d3c", "q|\u0d3c\u0301");
    HF("q\u0301\u0d3c", "q|\u0301\u0d3c"); /* Rust's NFC is of Unicode 9 */
    HF("e\u0d3c\u0301", "e|\u0d3c\u0301");
    HF("\U00011935\U00011930", "\U00011935\U00011930");
}

static void fixes(void)
{
    OPENAI("\ufb01ne \ufb05 \u0133 \u01c4 \u0149", "fine|\u017ft|ij|d\u017e|'|n");
    OPENAI("\uff21\uff11\uff01 \uff76\uff9e \uffa1\uffe3", "a|1|!|\u30ac|\u1100|\u0304");
    OPENAI("\u2018a\u2019 \u201cb\u201d \u02bcc", "'|a|'|\"|b|\"|'|c");
    HF("\u201cb\u201d", "\u201c|b|\u201d");
    OPENAI("a\302\221b\302\201c\302\205", "a|'|b|\302\201|c|\u2026"); /* C1 as Windows-1252 */
    OPENAI("a\0b\x07"
           "c\x7f"
           "d\ufeff"
           "e\ufffcf\u206ag",
           "abcdefg");
    OPENAI("a\x1b[31;1mb\x1b[0Kc\x1b[12", "abc|[|1|2");
    OPENAI("a\r\nb\rc\u2028d\x0b"
           "e",
           "a|b|c|de");
    OPENAI("a\u2013b\u2026\u00b4\u2032", "a|\u2013|b|\u2026\u00b4\u2032");
    HF("a\x07"
       "b",
       "a|\x07|b");
}

static void entities(void)
{
    OPENAI("AT&amp;T &lt;b&gt; &amp;lt;i&amp;gt; &#39;x&#39;", "at|&|t|<|b|>|<|i|>|'|x|'");
    HF("AT&amp;T", "at|&|amp|;|t");
    OPENAI("&amp;amp;amp;amp;amp; x", "&|x");
    OPENAI("<b> &amp;amp;amp;amp; x", "<|b|>|&|amp|;|amp|;|x"); /* "<" turns ftfy's part off: two passes are left */
    OPENAI("&lt;\n&amp;amp;amp;amp; x", "<|&|x");               /* an unescaped "<" does not */
    OPENAI("a<\n&amp;amp;amp;amp; x", "a|<|&|amp|;|amp|;|x");   /* from the first line with one on */
    OPENAI("&eacute; &EACUTE; &Eacute; &eACUTE;", "\u00e9|\u00e9|\u00e9|&|eacute|;");
    OPENAI("&NTILDE; &SZLIG; &FFILIG; &NAPOS;", "\u00f1|ss|ffi|'|n");
    OPENAI("&amp &lt &notit; &copy2 &hellip", "&|<|\u00ac|it|;|\u00a9|2|&|hellip");
    OPENAI("&GTDOT;", ">|dot|;");
    OPENAI("&#x41; &#X42 &#67 &#x; &#; &# &", "a|b|c|&#|x|;|&#;|&#|&");
    OPENAI("&#0; &#128; &#x81; &#xD800; &#x110000; &#99999999999999999999999999;",
           "\ufffd|\u20ac|\302\201|\ufffd|\ufffd|\ufffd");
    OPENAI("a&#1;b&#xFFFF;c&#xFDD0;d&#127;e", "abcde");
    OPENAI("&NotEqualTilde; &nvlt; &CounterClockwiseContourIntegral;", "\u2242\u0338|<\u20d2|\u2233");
    OPENAI("&am&#112;;", "&"); /* the result of another one */
    OPENAI("\uff06lt\uff1b", "<");
}

/* Marks of all classes, more than an insertion sort is used for: the order is stable by class. */
static void many_marks(void)
{
    vlk_buf in = {0}, want = {0};
    int rc = vlk_buf_adds(&in, "q", &err) || vlk_buf_adds(&want, "q|", &err);
    for (int i = 0; i < 50; i++)
        rc |= vlk_buf_adds(&in, "\u0301\u0316\u0334", &err); /* classes 230, 220, 1 */
    for (int i = 0; i < 50; i++)
        rc |= vlk_buf_adds(&want, "\u0334", &err);
    for (int i = 0; i < 50; i++)
        rc |= vlk_buf_adds(&want, "\u0316", &err);
    for (int i = 0; i < 50; i++)
        rc |= vlk_buf_adds(&want, "\u0301", &err);
    CHECK(rc == 0, "memory");
    says(VLK_BPE_HF, in.data, in.len, want.data, __LINE__);
    says(VLK_BPE_OPENAI, in.data, in.len, want.data, __LINE__);
    vlk_buf_clear(&in);
    vlk_buf_clear(&want);
}

/* References nested deeper than anybody means: an error, not an hour. */
static void nested(void)
{
    for (int deep = 900; deep < 6000; deep += 5000) {
        vlk_buf in = {0};
        vlk_ids ids = {0};
        int rc = 0;
        for (int i = 0; i < deep; i++)
            rc |= vlk_buf_adds(&in, "&#x3", &err);
        rc |= vlk_buf_adds(&in, "5", &err);
        for (int i = 0; i < deep; i++)
            rc |= vlk_buf_adds(&in, ";", &err);
        CHECK(rc == 0, "memory");
        if (deep < 1000)
            says(VLK_BPE_OPENAI, in.data, in.len, "5", __LINE__);
        rc = vlk_tokenizer_encode(dialect[VLK_BPE_OPENAI], &ids, in.data, in.len, &err);
        CHECK(deep < 1000 ? rc == 0 : err.code == VLK_ELIMIT, "%d nested references: %s", deep, err.msg);
        CHECK(vlk_tokenizer_encode(dialect[VLK_BPE_HF], &ids, in.data, in.len, &err) == 0,
              "not read by Hugging Face's");
        free(ids.id);
        vlk_buf_clear(&in);
    }
}

/* A NUL is a character as others are. */
static void nul(void)
{
    vlk_ids ids = {0};
    int rc = vlk_tokenizer_encode(dialect[VLK_BPE_HF], &ids, "a\0b", 3, &err);
    CHECK(rc == 0 && ids.len == 5 && byte_of(ids.id[2]) == 0, "NUL in Hugging Face's");
    rc = vlk_tokenizer_encode(dialect[VLK_BPE_OPENAI], &ids, "a\0b", 3, &err);
    CHECK(rc == 0 && ids.len == 4, "NUL in OpenAI's");
    free(ids.id);
}

int main(void)
{
    char path[] = "/tmp/vlk-unicode-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "#version: 0.2\n", 14) == 14 && close(fd) == 0, "%s", path);
    for (int d = 0; d < 3; d++) {
        dialect[d] = vlk_bpe_open_merges(path, 514, (vlk_bpe_dialect)d, &err);
        if (!CHECK(dialect[d], "%s", err.msg))
            return tap_end();
    }
    pattern();
    specials();
    case_and_forms();
    newer();
    fixes();
    entities();
    many_marks();
    nested();
    nul();
    for (int d = 0; d < 3; d++)
        vlk_tokenizer_free(dialect[d]);
    (void)!remove(path);
    return tap_end();
}
