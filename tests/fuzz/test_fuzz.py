# SPDX-License-Identifier: GPL-2.0-only
"""The short pass: the corpus, and a few mutations of it. `tools/fuzz` goes on where this ends."""

from __future__ import annotations

import functools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .harness import CORPUS, ROOT, Target, check, inputs
from .targets import TARGETS

BYTES_PER_BYTE = 400
"""Of memory at the most, for each byte of input: Python's objects for very short lines."""

BYTES = 8 << 20
"""Of memory at the most, besides that."""

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

Edit = tuple[float, int, bytes]
"""Where (0 to 1), how many bytes are taken out there, and what is put in."""

words = st.sampled_from((b"\0", b"\xff" * 4, b"\n", b"\n--\n", b"9" * 30, b"0x", b"=", b"[", b": ", b" "))
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.one_of(st.binary(max_size=12), words)), max_size=6
)


@functools.cache
def samples(name: str) -> list[bytes]:
    return list(inputs(TARGETS[name]).values())


def edited(data: bytes, changes: list[Edit]) -> bytes:
    for where, size, replacement in changes:
        at = int(where * len(data))
        data = data[:at] + replacement + data[at + size :]
    return data


@ALL
def test_corpus_within_time_and_memory(target: Target) -> None:
    for data in inputs(target).values():
        check(target, data)
        tracemalloc.start()
        try:
            target.function(data)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= BYTES + BYTES_PER_BYTE * len(data)


@ALL
@settings(deadline=None, max_examples=40)
@given(number=st.integers(0), changes=edits)
def test_mutations(target: Target, number: int, changes: list[Edit]) -> None:
    own = samples(target.name)
    check(target, edited(own[number % len(own)], changes))


@ALL
def test_there_is_something_to_begin_with(target: Target) -> None:
    """A target that refuses all of its corpus at the first byte would find nothing for ever."""
    assert max(target.function(data) for data in samples(target.name)) > 0


def test_no_corpus_is_of_nobody() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= TARGETS.keys()
    assert all(list(ROOT.glob(glob)) for target in TARGETS.values() for glob in target.seeds)
