# bash completion for nrun: `nrun completion bash` prints this.

_nrun_flags() { # COMMAND
    case $1 in
    @FLAGS@
    esac
}

_nrun_value() { # COMMAND FLAG: what the value of a flag is; nothing for a switch
    case $1:$2 in
    @VALUES@
    esac
}

_nrun_operand() { # COMMAND PLACE
    case $1:$2 in
    @OPERANDS@
    esac
}

_nrun() {
    local cur=${COMP_WORDS[COMP_CWORD]} command='' root='' kind='' operands=0 i=1 word
    COMPREPLY=()
    [[ $cur == = ]] && cur=''
    # What the words before this one say. An equals sign is a word of its own.
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        case $word in
        -*)
            kind=$(_nrun_value "$command" "$word")
            if [[ -n $kind ]]; then
                [[ ${COMP_WORDS[i + 1]} == = ]] && i=$((i + 1))
                i=$((i + 1))
                ((i >= COMP_CWORD)) && break
                [[ $word == --root || $word == -root ]] && root=${COMP_WORDS[i]}
                kind=''
            fi
            ;;
        =) ;;
        *) if [[ -z $command ]]; then command=$word; else operands=$((operands + 1)); fi ;;
        esac
        i=$((i + 1))
    done
    if [[ -z $kind ]]; then
        # What follows the id is the container's command line.
        [[ $command == exec && $operands -gt 0 ]] && return
        if [[ $cur == -* ]]; then
            kind="$(_nrun_flags "$command") $([[ -n $command ]] && echo '--help')"
        elif [[ -z $command ]]; then
            kind=command
        else
            kind=$(_nrun_operand "$command" "$operands")
        fi
    fi
    case $kind in
    '' | other) return ;;
    dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    command) kind='@COMMANDS@' ;;
    signal) kind='@SIGNALS@' ;;
    id) kind=$("${COMP_WORDS[0]}" ${root:+--root "$root"} list -q 2>/dev/null) ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
}

complete -F _nrun nrun
