# SPDX-License-Identifier: GPL-2.0-only
"""What holds for every target and input: it is done in time, and makes no more of it than it may.

A target is a function that takes any bytes, fails where an invariant does not
hold, and says how much it made of them (characters, bytes or rows). The inputs
it begins with are the fixtures that its row names, and `corpus/TARGET`: found
by the fuzzer, or what once was a finding.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]

SECONDS = 2.0
SECONDS_PER_BYTE = 1e-4
"""Of the processor's time; a hundred times what it takes, for instrumented code on a busy machine."""

LARGEST_SEED = 1 << 14
"""Bytes of a fixture to begin with: what is longer is cut, for a fuzzer gets nowhere with it."""


class Target(NamedTuple):
    """`growth` is how much may be made of each byte of input, `least` of none.

    `seeds` are globs of files of the project; `wrap` puts before a fixture what the target reads first.
    """

    function: Callable[[bytes], int]
    growth: int
    least: int
    seeds: tuple[str, ...] = ()
    wrap: bytes = b""

    @property
    def name(self) -> str:
        return self.function.__name__


def check(target: Target, data: bytes) -> None:
    """Run the target; AssertionError, or whatever it raises, is a finding."""
    started = time.process_time()
    made = target.function(data)
    took = time.process_time() - started
    assert took <= SECONDS + SECONDS_PER_BYTE * len(data), f"{took:.1f} s for {len(data)} bytes"
    assert made <= target.least + target.growth * len(data), f"{made} made of {len(data)} bytes"


def inputs(target: Target) -> dict[str, bytes]:
    """What the target begins with, by name."""
    found = {path.name: path.read_bytes() for path in sorted((CORPUS / target.name).glob("*"))}
    for glob in target.seeds:
        for path in sorted(ROOT.glob(glob)):
            found[path.name] = target.wrap + path.read_bytes()[:LARGEST_SEED]
    return found or {"empty": b""}


def parts(data: bytes, most: int, mark: bytes = b"\n--\n") -> Iterator[bytes]:
    """An input that consists of several files; as many as asked for, the last with all the rest."""
    found = data.split(mark, most - 1)
    yield from found
    yield from [b""] * (most - len(found))
