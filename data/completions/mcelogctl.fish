# SPDX-License-Identifier: GPL-2.0-only
# Completion of mcelogctl for fish.

set --local commands status dimms sockets pages events show history monitor offline-page replaced acquit \
    reset doctor metrics reload self-test

function __mcelogctl_dimms --description 'Numbers and labels of the DIMMs'
    # Nobody is asked for a password meanwhile.
    mcelogctl --json --no-ask-password dimms 2>/dev/null | grep -oE '"(place|label)": "[^"\\\\]+"' |
        sed 's/^[^:]*: "//; s/"$//'
end

function __mcelogctl_list --description 'One more word of a list with commas'
    set --local before (commandline --current-token | string match --regex '^.*,')
    printf '%s\n' $before$argv
end

complete --command mcelogctl --no-files
complete -c mcelogctl -s H -l host -x -a '(__fish_print_hostnames)' -d 'Ask the mcelog of another machine, by ssh'
complete -c mcelogctl -l address -x -a 'system session' -d 'The bus'
complete -c mcelogctl -l json -d 'Print JSON'
complete -c mcelogctl -l no-pager -d 'Do not start a pager'
complete -c mcelogctl -l no-legend -d 'No headings, no sums'
complete -c mcelogctl -l no-ask-password -d 'Rather fail than ask for a password'
complete -c mcelogctl -s h -l help -d 'Show help'
complete -c mcelogctl -n "not __fish_seen_subcommand_from $commands" -l version -d 'Show the version'

set --local none "not __fish_seen_subcommand_from $commands"
complete -c mcelogctl -n $none -a status -d 'Whether anything speaks against the machine'
complete -c mcelogctl -n $none -a dimms -d 'Errors, what they have in common, advice'
complete -c mcelogctl -n $none -a sockets -d 'Memory errors, and CPUs with other errors'
complete -c mcelogctl -n $none -a pages -d 'Pages of memory with errors, and what was done about them'
complete -c mcelogctl -n $none -a events -d 'Errors one by one, from the journal'
complete -c mcelogctl -n $none -a show -d 'One event in full'
complete -c mcelogctl -n $none -a history -d 'DIMMs that were replaced'
complete -c mcelogctl -n $none -a monitor -d 'What happens, as it happens'
complete -c mcelogctl -n $none -a offline-page -d 'Take a page of memory out of use'
complete -c mcelogctl -n $none -a replaced -d 'Say that a DIMM is another one now'
complete -c mcelogctl -n $none -a acquit -d 'Say that a DIMM is sound'
complete -c mcelogctl -n $none -a reset -d 'Set counters to zero'
complete -c mcelogctl -n $none -a doctor -d 'What keeps errors from being logged, and the remedy'
complete -c mcelogctl -n $none -a metrics -d 'Counts for Prometheus'
complete -c mcelogctl -n $none -a reload -d 'Read mcelog.conf again'
complete -c mcelogctl -n $none -a self-test -d 'Inject one harmless error, and see whether it is logged'

set --local events '__fish_seen_subcommand_from events'
complete -c mcelogctl -n $events -s S -l since -x -a 'today yesterday' -d 'Not older than that'
complete -c mcelogctl -n $events -s U -l until -x -a 'today yesterday' -d 'Not newer than that'
complete -c mcelogctl -n $events -s k -l kind -x -d 'Kinds' \
    -a '(__mcelogctl_list memory cache tlb bus io internal thermal unknown)'
complete -c mcelogctl -n $events -s s -l severity -x -d 'Severities' \
    -a '(__mcelogctl_list info corrected deferred recoverable uncorrected fatal deferred+)'
complete -c mcelogctl -n $events -s n -l lines -x -d 'The newest only'
complete -c mcelogctl -n $events -s f -l follow -d 'Wait for more'
complete -c mcelogctl -n $events -l by -x -a dimm -d 'How many errors each DIMM had'
complete -c mcelogctl -n $events -l more-than -x -d 'Only DIMMs that had more'
complete -c mcelogctl -n '__fish_seen_subcommand_from events reset' -l all -d 'All'

set --local journal '__fish_seen_subcommand_from events show'
complete -c mcelogctl -n $journal -s D -l directory -x -a '(__fish_complete_directories)' \
    -d 'The journal in this directory'
complete -c mcelogctl -n $journal -l machine -x -a all -d 'Of this machine, or of all'

complete -c mcelogctl -n '__fish_seen_subcommand_from offline-page' -l hard -d 'Even if processes are killed by it'
complete -c mcelogctl -n '__fish_seen_subcommand_from dimms replaced acquit reset' -a '(__mcelogctl_dimms)'
complete -c mcelogctl -n '__fish_seen_subcommand_from doctor' -l root -x -a '(__fish_complete_directories)' \
    -d 'Look at the system in this directory'
complete -c mcelogctl -n '__fish_seen_subcommand_from metrics' -l textfile -r -F -d 'Put them into this file'
complete -c mcelogctl -n '__fish_seen_subcommand_from metrics' -l serve -d 'Answer HTTP on the socket of systemd'
