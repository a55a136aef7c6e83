# SPDX-License-Identifier: GPL-2.0-only
"""What survives a restart: every record, and the counters they add up to.

An SQLite database in WAL mode. Records, counters and how far the spool has
been folded in are committed in one transaction, so that a crash at any instant
loses no record that was read and counts none twice.

`database` opens it and says what it holds, `writer` commits to it in a thread
of its own whatever becomes of the file, `reader` answers questions beside it.
"""

DATABASE = "mcelog.db"
"""Its name in the state directory."""
