# SPDX-License-Identifier: GPL-2.0-only
"""Families of metrics as text, in the formats that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def openmetrics(families: Iterable[Metric]) -> bytes:
    """OpenMetrics 1.0."""
    return bytes(openmetrics_exposition.generate_latest(_registry(families)))


def classic(families: Iterable[Metric]) -> bytes:
    """Prometheus' own older format: the only one that node_exporter reads from files."""
    return bytes(exposition.generate_latest(_registry(families)))


def negotiated(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """What who sent that Accept header understands best, and its Content-Type."""
    encode, content_type = exposition.choose_encoder(accept)
    return bytes(encode(_registry(families))), content_type


def _registry(families: Iterable[Metric]) -> CollectorRegistry:
    """One of our own: the library's usual one would add what it measures of this process."""
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return registry
