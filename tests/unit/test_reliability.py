# SPDX-License-Identifier: GPL-2.0-only
"""docs/reliability.md is what the tests of faults say, and a test must prove what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.reliability import DOCUMENT, Claims, Part, fault, render, rows

if TYPE_CHECKING:
    from collections.abc import Callable

CAUSE = "A screw is loose"


def test_the_document_is_up_to_date() -> None:
    again = "python -m tests.integration.reliability > docs/reliability.md"
    assert DOCUMENT.read_text(encoding="utf-8") == render(), f"the tests say something else: {again}"


def test_every_part_has_a_fault_and_none_is_there_twice() -> None:
    found = list(rows())
    assert {row.part for row in found} == set(Part)
    assert len({row.test for row in found}) == len({row.cause for row in found}) == len(found)


def proves_all(claims: Claims) -> None:
    claims.saw("1 screw fell, 2 left")
    claims.kept(2, 2)
    claims.recovered(True)


def proves_nothing(claims: Claims) -> None:
    """As a test that has lost an assertion."""


def heard_nothing(claims: Claims) -> None:
    claims.saw("nothing")


def lost_one(claims: Claims) -> None:
    claims.kept(1, 2)


@pytest.mark.parametrize("test", [proves_nothing, heard_nothing, lost_one])
def test_a_claim_that_is_not_proved_fails_the_test(test: Callable[..., None]) -> None:
    carry = fault(Part.PROCESS, CAUSE, says="… screw fell, … left", lost="A screw", recovers="Never")
    proved = carry(proves_all)
    proved(claims=Claims(proved.fault))  # type: ignore[attr-defined]
    failing = carry(test)
    with pytest.raises(AssertionError):
        failing(claims=Claims(failing.fault))  # type: ignore[attr-defined]
