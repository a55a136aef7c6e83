# SPDX-License-Identifier: GPL-2.0-only
# Completion of mcelogctl for bash.

_mcelogctl_dimms() {
    # Numbers and labels of the DIMMs; nobody is asked for a password meanwhile.
    mcelogctl --json --no-ask-password dimms 2>/dev/null |
        grep -oE '"(place|label)": "[^"\\]+"' | sed 's/^[^:]*: "//; s/"$//'
}

_mcelogctl_words() {
    # Words that go on from what is typed; each line is one, blanks in it are escaped.
    local word
    while IFS= read -r word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$(printf '%q' "$word")")
        fi
    done
}

_mcelogctl_list() {
    # One more word of a list with commas.
    local before=
    if [[ $cur == *,* ]]; then
        before=${cur%,*},
    fi
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$1" -- "${cur##*,}")
    compopt -o nospace
}

_mcelogctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='status dimms sockets pages events show history monitor offline-page replaced acquit
        reset doctor metrics reload self-test'
    local options='-H --host --address --json --no-pager --no-legend --no-ask-password -h --help'
    local kinds='memory cache tlb bus io internal thermal unknown'
    local severities='info corrected deferred recoverable uncorrected fatal deferred+'
    local command='' place='' word number
    COMPREPLY=()

    for ((number = 1; number < COMP_CWORD; number++)); do
        word=${COMP_WORDS[number]}
        case $word in
            -H | --host | --address | -S | --since | -U | --until | -k | --kind | -s | --severity | \
                -n | --lines | -D | --directory | --machine | --root | --textfile | \
                --by | --more-than)
                number=$((number + 1))
                ;;
            -*) ;;
            *)
                if [[ -z $command ]]; then
                    command=$word
                else
                    place=$word
                fi
                ;;
        esac
    done

    case $prev in
        -H | --host)
            mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur")
            return
            ;;
        -D | --directory | --root)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -A directory -- "$cur")
            return
            ;;
        --textfile)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -A file -- "$cur")
            return
            ;;
        -k | --kind)
            _mcelogctl_list "$kinds"
            return
            ;;
        -s | --severity)
            _mcelogctl_list "$severities"
            return
            ;;
        -S | --since | -U | --until)
            mapfile -t COMPREPLY < <(compgen -W 'today yesterday' -- "$cur")
            return
            ;;
        --address)
            mapfile -t COMPREPLY < <(compgen -W 'system session' -- "$cur")
            return
            ;;
        --machine)
            mapfile -t COMPREPLY < <(compgen -W 'all' -- "$cur")
            return
            ;;
        --by)
            mapfile -t COMPREPLY < <(compgen -W 'dimm' -- "$cur")
            return
            ;;
        -n | --lines | --more-than) return ;;
    esac

    case $command in
        '') options+=' --version' ;;
        events)
            options+=' -S --since -U --until -k --kind -s --severity -n --lines -f --follow --all --by --more-than
                -D --directory --machine'
            ;;
        show) options+=' -D --directory --machine' ;;
        offline-page) options+=' --hard' ;;
        reset) options+=' --all' ;;
        doctor) options+=' --root' ;;
        metrics) options+=' --textfile --serve' ;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        return
    fi
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur") ;;
        dimms | replaced | acquit | reset)
            if [[ -z $place ]]; then
                _mcelogctl_words < <(_mcelogctl_dimms)
            fi
            ;;
    esac
}

complete -F _mcelogctl mcelogctl
