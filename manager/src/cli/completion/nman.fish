# fish completion for nman: nman itself says what could come next.
function __nman_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    # In quotes, for it is one word also when nothing of it is typed yet.
    for line in ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :directories
                __fish_complete_directories (commandline -ct) ''
            case '*'
                echo $line
        end
    end
end
complete -c nman -f -a '(__nman_complete)'
