# SPDX-License-Identifier: GPL-2.0-only
"""Machine checks that the kernel found before anybody here listened.

The kernel prints what nobody reads: into its log, which the journal keeps,
and, should it panic, into what survives a reboot (pstore). `kernel_log` and
`pstore` fetch that, `dumps` puts the pieces of a dump together, `messages`
finds the records in lines, `merge` leaves out what is known already. `gather`
does the first four; start reading there.
"""
