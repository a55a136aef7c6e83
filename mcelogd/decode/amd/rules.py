# SPDX-License-Identifier: GPL-2.0-only
"""The rows that the error tables of AMD K8 and families 10h to 16h are made of.

Those CPUs tell errors apart by the bank, the form and the fields of the error
code, and the extended error code together. A table is read from its top; the
first row that fits counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mcelogd.decode.amd.codes import LL, PP, TT, Form, form_of, rrrr
from mcelogd.decode.bits import extract

if TYPE_CHECKING:
    from collections.abc import Container

    from mcelogd.event import Kind

# TT, LL, RRRR and II by number, for the columns of the tables.
INSN, DATA = 0, 1
L1, L2, LG = 1, 2, 3
GEN, RD, WR, DRD, DWR, IRD, PF, EV, SNP = range(9)
MEM, IO = 0, 2
ANY: Final = range(0x10000)


class Rule(NamedTuple):
    """A row: what an error is called, and which error codes it stands for.

    `text` may name the code's fields: {level}, {transaction}, {request},
    {participation}, and {xec} for the extended error code. `which` is TT of
    TLB and MEM codes, II of BUS codes.
    """

    text: str
    kind: Kind
    form: Form | None = None
    xec: Container[int] = ANY
    which: Container[int] = ANY
    level: Container[int] = ANY
    request: Container[int] = ANY


def find(table: tuple[Rule, ...], code: int, xec: int) -> Rule | None:
    """The first row for an error code and extended error code; None where no row fits."""
    form = form_of(code)
    for rule in table:
        if (
            rule.form in (None, form)
            and xec in rule.xec
            and extract(code, 2, 3) in rule.which
            and code & 3 in rule.level
            and extract(code, 4, 7) in rule.request
        ):
            return rule
    return None


def text_of(rule: Rule, code: int, xec: int) -> str:
    """The row's text, with the fields it names."""
    return rule.text.format(
        level=LL[code & 3],
        transaction=TT[extract(code, 2, 3)],
        request=rrrr(code),
        participation=PP[extract(code, 9, 10)],
        xec=f"{xec:x}",
    )
