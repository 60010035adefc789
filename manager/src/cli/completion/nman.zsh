#compdef nman
# zsh completion for nman: nman itself says what could come next.
_nman() {
    local line
    local -a lines candidates
    lines=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        case $line in
            (:files) _files ;;
            (:directories) _files -/ ;;
            (*$'\t'*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            (*) candidates+=("${line//:/\\:}") ;;
        esac
    done
    (( ${#candidates} )) && _describe nman candidates
}
if [ "${funcstack[1]}" = _nman ]; then _nman "$@"; else compdef _nman nman; fi
