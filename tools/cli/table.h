/* table.h - constructors of option rows. Only for files that hold a table; OPTIONS_OF names the struct of the options:
 *
 *   #define OPTIONS_OF embed_options
 *   static const cli_option own[] = {{FLAG(0, "raw", raw, "vectors without l2-normalisation"), VALUE}, {END}};
 *
 * A row's braces are written at the row, so that roles and rarer fields can follow the constructor. The compiler checks
 * that a field has the type that the row writes. The first argument is the letter, 0 for none. */
#ifndef VLK_CLI_TABLE_H
#define VLK_CLI_TABLE_H

#include "cli.h"

/* clang-format off */ /* its versions differ on the colon of _Generic */
#define OPTION_AT(type, field) (offsetof(OPTIONS_OF, field) + 0 * _Generic(&((OPTIONS_OF *)0)->field, type *: 1))
/* clang-format on */
/* An enum, which is written as an int: a field of another size is a division by zero. */
#define OPTION_ENUM(field) (offsetof(OPTIONS_OF, field) + 0 / (sizeof(((OPTIONS_OF *)0)->field) == sizeof(int)))

#define GROUP(heading) .kind = CLI_GROUP, .help = heading
#define FLAG(letter_, name_, field, help_)                                                                             \
    .kind = CLI_FLAG, .letter = letter_, .name = name_, .offset = OPTION_AT(int, field), .help = help_
#define STR(letter_, name_, field, metavar_, help_)                                                                    \
    .kind = CLI_STR, .letter = letter_, .name = name_, .offset = OPTION_AT(const char *, field), .metavar = metavar_,  \
    .help = help_
#define STRS(letter_, name_, field, metavar_, help_)                                                                   \
    .kind = CLI_STRS, .letter = letter_, .name = name_, .offset = OPTION_AT(cli_strs, field), .metavar = metavar_,     \
    .help = help_
#define SIZE(letter_, name_, field, metavar_, min_, max_, help_)                                                       \
    .kind = CLI_SIZE, .letter = letter_, .name = name_, .offset = OPTION_AT(size_t, field), .metavar = metavar_,       \
    .min = min_, .max = max_, .help = help_
#define NUM(letter_, name_, field, metavar_, min_, max_, help_)                                                        \
    .kind = CLI_NUM, .letter = letter_, .name = name_, .offset = OPTION_AT(double, field), .metavar = metavar_,        \
    .min = min_, .max = max_, .help = help_
/* The metavar is made from the words. */
#define WORD(letter_, name_, field, words_, help_)                                                                     \
    .kind = CLI_WORD, .letter = letter_, .name = name_, .offset = OPTION_ENUM(field), .words = words_, .help = help_
/* form_: a cli_form. */
#define FORM(letter_, name_, field, form_, metavar_, help_)                                                            \
    .kind = CLI_FORM, .letter = letter_, .name = name_, .offset = offsetof(OPTIONS_OF, field), .form = &(form_),       \
    .metavar = metavar_, .help = help_
#define RECORD(name_, field, form_)                                                                                    \
    .kind = CLI_RECORD, .name = name_, .offset = offsetof(OPTIONS_OF, field), .form = &(form_)
#define ALIAS(name_, of) .kind = CLI_ALIAS, .name = name_, .help = of
#define END .kind = CLI_END

/* After NUM: the number may be missing, which sets this int. */
#define OR_ALONE(field) .may_stand_alone = 1, .alone_offset = OPTION_AT(int, field)

#define VALUE .role = CLI_VALUE
#define SCORE .role = CLI_SCORE
#define FREE .role = CLI_FREE
#define LENGTH .role = CLI_LENGTH
#define PLACE .role = CLI_PLACE
#define NOW .role = CLI_NOW

#endif
