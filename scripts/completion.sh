#!/bin/sh
# completion.sh - bash completion of a program, made from its option table.
# usage: completion.sh PROGRAM        PROGRAM --print-options: letter TAB long TAB metavar TAB help, "-" for none
name=$(basename "$1")
options=$("$1" --print-options) || exit 1
fn=_$(echo "$name" | tr '-' '_')
words=$(echo "$options" | awk -F'\t' '{ if ($1 != "-") printf "-%s ", $1; printf "--%s ", $2 }')
echo "# bash completion for $name"
echo "$fn()"
echo '{'
echo '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}'
# Bash breaks words at "=": --option = value.
echo '    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi'
echo '    case $prev in'
echo "$options" | awk -F'\t' '$3 != "-" {
    pat = "--" $2; if ($1 != "-") pat = "-" $1 "|" pat
    if ($3 ~ /^[a-z0-9]+(\|[a-z0-9]+)+$/) {
        gsub(/\|/, " ", $3)
        printf "    %s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", pat, $3
    } else if ($3 ~ /FILE|DIR|MODEL|INPUT|IMAGE|CORPUS|TSV/)
        printf "    %s) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n", pat
    else
        printf "    %s) COMPREPLY=(); return ;;\n", pat
}'
echo '    esac'
echo '    if [[ $cur == -* ]]; then'
echo "        COMPREPLY=(\$(compgen -W \"$words\" -- \"\$cur\"))"
echo '    else'
echo '        compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")'
echo '    fi'
echo '}'
echo "complete -F $fn $name"
