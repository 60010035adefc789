# bash completion for nman: nman itself says what could come next.
_nman() {
    local line current prefix words
    COMPREPLY=()
    # Split at spaces alone: bash splits at colons, which are part of an image's name.
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    prefix=${current%"${current##*[:=]}"}
    while IFS= read -r line; do
        case $line in
            :files) compopt -o filenames 2>/dev/null
                while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${current#"$prefix"}") ;;
            :directories) compopt -o filenames 2>/dev/null
                while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "${current#"$prefix"}") ;;
            *) line=${line%%$'\t'*}
                COMPREPLY+=("${line#"$prefix"}")
                [[ $line == *= ]] && compopt -o nospace 2>/dev/null ;;
        esac
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _nman nman
