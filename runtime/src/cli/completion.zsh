#compdef nrun
# zsh completion for nrun: `nrun completion zsh` prints this.

_nrun_ids() {
    local -a ids root
    [[ -n $nrun_root ]] && root=(--root $nrun_root)
    ids=(${(f)"$($nrun_program $root list -q 2>/dev/null)"})
    compadd -a ids
}

_nrun() {
    local curcontext=$curcontext state line nrun_root nrun_program=$words[1]
    local -A opt_args
    _arguments -C -S \
        @GLOBALS@
        '1: :->command' \
        '*:: :->argument' && return 0
    nrun_root=${(Q)opt_args[--root]}
    case $state in
    command)
        local -a commands=(
            @COMMANDS@
        )
        _describe -t commands command commands
        ;;
    argument)
        case $words[1] in
        @CASES@
        esac
        ;;
    esac
}

if [[ $funcstack[1] == _nrun ]]; then
    _nrun "$@"
else
    compdef _nrun nrun
fi
