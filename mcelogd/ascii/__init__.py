# SPDX-License-Identifier: GPL-2.0-only
"""Kernel log and mcelog text -> machine-check records.

What `mcelog --ascii` reads: a panic, dmesg, the journal or syslog, netconsole,
mcelog's own decoded or `--raw` output, mce-inject files and Xen's console.
`prefix` takes off what loggers put before a line, `fields` reads the
registers a line names, `heads` the lines that begin a record, `amd` and
`trace` other shapes that kernels print, and `assembler` puts lines together
to records; `blocks` does the same in bulk.
"""

from mcelogd.ascii.assembler import assemble
from mcelogd.ascii.blocks import Printed, assemble_blocks
from mcelogd.ascii.pending import Assembled

__all__ = ["Assembled", "Printed", "assemble", "assemble_blocks"]
