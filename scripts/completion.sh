#!/bin/sh
# completion.sh - a shell's completion of a program's options, from the program's own table.
# usage: completion.sh bash|zsh|fish PROGRAM
# PROGRAM --print-options: letter TAB long TAB metavar TAB help, "-" where there is none.
shell=$1
name=$(basename "$2")
options=$("$2" --print-options) || exit 1

# What an option takes, by its metavar: letter TAB long TAB none|words|dirs|files|text TAB its words TAB metavar TAB help
table=$(echo "$options" | awk -F'\t' -v OFS='\t' '{
    kind = "text"; words = ""
    if ($3 == "-") kind = "none"
    else if ($3 ~ /^[a-z0-9]+(\|[a-z0-9]+)+$/) { kind = "words"; words = $3; gsub(/\|/, " ", words) }
    else if ($3 == "DIR" || $3 == "RUN") kind = "dirs"
    else if ($3 ~ /FILE|DIR|MODEL|INPUT|IMAGE|CORPUS|TSV|DATA|PAIRS/) kind = "files"
    print $1, $2, kind, words, $3, $4
}')

bash_completion() {
    fn=_$(echo "$name" | tr '-' '_')
    all=$(echo "$table" | awk -F'\t' '{ if ($1 != "-") printf "-%s ", $1; printf "--%s ", $2 }')
    echo "# bash completion for $name"
    echo "$fn()"
    echo '{'
    echo '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}'
    # Bash breaks words at "=": --option = value.
    echo '    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi'
    echo '    case $prev in'
    echo "$table" | awk -F'\t' '$3 != "none" {
        does = "COMPREPLY=()"
        if ($3 == "words") does = "COMPREPLY=($(compgen -W \"" $4 "\" -- \"$cur\"))"
        if ($3 == "files") does = "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")"
        if ($3 == "dirs") does = "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")"
        printf "    %s--%s) %s; return ;;\n", $1 == "-" ? "" : "-" $1 "|", $2, does
    }'
    echo '    esac'
    echo '    if [[ $cur == -* ]]; then'
    echo "        COMPREPLY=(\$(compgen -W \"$all\" -- \"\$cur\"))"
    echo '    else'
    echo '        compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur")'
    echo '    fi'
    echo '}'
    echo "complete -F $fn $name"
}

zsh_completion() {
    echo "#compdef $name"
    echo "_arguments -s -S \\"
    echo "$table" | awk -F'\t' -v q="'" '{
        help = $6; gsub(/[][\\]/, "\\\\&", help); gsub(q, q "\\" q q, help)
        value = ""; equals = ""; plus = ""; more = help ~ /may be repeated/ ? "*" : ""; metavar = $5; gsub(/:/, "\\:", metavar)
        if ($3 != "none") {
            action = $3 == "words" ? "(" $4 ")" : $3 == "files" ? "_files" : $3 == "dirs" ? "_files -/" : " "
            value = ":" metavar ":" action; equals = "="; plus = "+"
        }
        if ($1 == "-") printf "    %s%s--%s%s[%s]%s%s \\\n", q, more, $2, equals, help, value, q
        else printf "    %s(-%s --%s)%s{-%s%s,--%s%s}%s[%s]%s%s \\\n", q, $1, $2, q, $1, plus, $2, equals, q, help, value, q
    }'
    echo "    '*:file:_files'"
}

fish_completion() {
    echo "# fish completion for $name"
    echo "$table" | awk -F'\t' -v q="'" -v name="$name" '{
        help = $6; gsub(/\\/, "\\\\\\\\", help); gsub(q, "\\" q, help)
        takes = ""
        if ($3 == "words") takes = " -x -a " q $4 q
        if ($3 == "files") takes = " -r -F"
        if ($3 == "dirs") takes = " -x -a " q "(__fish_complete_directories)" q
        if ($3 == "text") takes = " -x"
        printf "complete -c %s%s -l %s%s -d %s%s%s\n", name, $1 == "-" ? "" : " -s " $1, $2, takes, q, help, q
    }'
}

case $shell in
bash | zsh | fish) "${shell}_completion" ;;
*)
    echo "usage: completion.sh bash|zsh|fish PROGRAM" >&2
    exit 2
    ;;
esac
