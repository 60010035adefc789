# fish completion for nrun: `nrun completion fish` prints this.

# The command and the operands before the cursor, one a line, without flags and their values.
function __nrun_words
    set -l with_value @VALUES@
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word $with_value
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function __nrun_at
    test (count (__nrun_words)) = $argv[1]
end

function __nrun_in
    set -l words (__nrun_words)
    test "$words[1]" = $argv[1]
end

function __nrun_ids
    set -l words (commandline -opc)
    set -l root
    for i in (seq (count $words))
        if test "$words[$i]" = --root
            set root --root $words[(math $i + 1)]
        else if string match -q -- '--root=*' $words[$i]
            set root $words[$i]
        end
    end
    $words[1] $root list -q 2>/dev/null
end

complete -c nrun -f
@TABLE@
