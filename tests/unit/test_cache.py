# SPDX-License-Identifier: GPL-2.0-only
"""Decoding once: the cache never changes what a record means."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd.decode import bits, cache, decode
from mcelogd.decode.cache import PLACE, SIGNATURE, CachedDecoder, Watched
from mcelogd.record import MceRecord

CODES = (0, 0x5, 0x90, 0x9F, 0x134, 0x11B, 0x400, 0xE0B, 0x80F, 0x813, 0x1090, 0xFFFF)
cpu_types = st.sampled_from(cpus.ALL_CPU_TYPES)
statuses = st.builds(
    lambda high, code: high & ~0xFFFF | code, st.integers(0, 2**64 - 1), st.sampled_from(CODES)
)


@st.composite
def storm(draw: st.DrawFn) -> tuple[cpus.CpuType, list[MceRecord]]:
    """Records with few differences in the signature, and all others."""
    cpu_type = draw(cpu_types)
    first = MceRecord(
        status=draw(statuses),
        misc=draw(st.integers(0, 2**64 - 1)),
        bank=draw(st.sampled_from((0, 3, 5, 7, 13, 20, 128, 255))),
        mcgcap=draw(st.sampled_from((None, 0, 0xF000C15))),
        ipid=draw(st.sampled_from((None, 0, 0x9600150F00))),
        synd=0,
        cpuid=0xA00F11,
    )
    others = st.fixed_dictionaries(
        {name: st.integers(0, 3) for name in MceRecord._fields if name not in SIGNATURE},
        optional={"misc": st.just(5), "mcgstatus": st.just(5), "synd": st.just(7)},
    )
    return cpu_type, [first._replace(**changes) for changes in draw(st.lists(others, max_size=5))]


@settings(deadline=None)
@given(st.lists(storm(), max_size=4))
def test_cached_is_what_it_would_be(storms: list[tuple[cpus.CpuType, list[MceRecord]]]) -> None:
    cached = CachedDecoder()
    for cpu_type, records in storms:
        for record in records:
            assert cached.decode(record, cpu_type) == decode(record, cpu_type)


@pytest.mark.parametrize("name", [name for name in MceRecord._fields if name not in SIGNATURE] + ["cpu"])
def test_fields_outside_the_signature_are_watched(name: str) -> None:
    record = Watched(addr=5)
    assert getattr(record, name) == getattr(MceRecord(addr=5), name)
    assert (record.is_placed, record.is_own) == ((True, False) if name in (*PLACE, "cpu") else (False, True))


def test_looking_at_all_fields_is_watched() -> None:
    for look in (lambda r: r[2], lambda r: list(r), lambda r: r._replace(misc=1), lambda r: r._asdict()):
        record = Watched(addr=5)
        look(record)
        assert record.is_own


def test_fields_of_the_signature_are_not() -> None:
    record = Watched(addr=5)
    for name in SIGNATURE:
        getattr(record, name)
    assert not record.is_own
    assert not record.is_placed


def test_the_common_errors_are_remembered() -> None:
    """A decoder that looked at a field it does not need would make every storm slow."""
    cached = CachedDecoder()
    memory = MceRecord(status=0x8C00004000010090, misc=0x86, bank=13, cpuid=0x50654)
    for cpu_type in cpus.ALL_CPU_TYPES:
        cached.decode(memory, cpu_type)
    assert {signature[-1] for signature in cached._findings.shared} == {
        cpu.name for cpu in cpus.ALL_CPU_TYPES
    }


def test_what_looks_at_the_cpu_is_not_shared() -> None:
    cached = CachedDecoder()
    hot = MceRecord(status=1, bank=bits.THERMAL_BANK)
    assert cached.decode(hot, cpus.INTEL).finding.lines[0].startswith("Processor 0 ")
    assert cached.decode(hot._replace(extcpu=7), cpus.INTEL).finding.lines[0].startswith("Processor 7 ")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_REMEMBERED", 3)
    cached = CachedDecoder()
    for status in range(20):
        cached.decode(MceRecord(status=status), cpus.INTEL)
        assert len(cached._findings.shared) <= 3
