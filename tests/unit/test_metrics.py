# SPDX-License-Identifier: GPL-2.0-only
"""Metrics of what D-Bus gave; that they are named as Prometheus wants it, and used by their names."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mcelogd.metrics import endpoint, rows, text, textfile
from mcelogd.metrics.families import Seen, families
from mcelogd.metrics.rows import METRICS, Metric, Type

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs/metrics.md"
RULES = ROOT / "data/prometheus/mcelog.rules.yml"
DASHBOARD = ROOT / "data/grafana/mcelog.json"

MANAGER = {
    "Version": "9.9",
    "CpuType": "icelake_server",
    "CpuVendor": "Intel",
    "Source": "/dev/mcelog",
    "SourceState": "reading",
    "RecordsRead": 12,
    "RecordsLost": 1,
    "CorrectedErrors": 11,
    "UncorrectedErrors": 1,
    "LastEventTime": 1_795_374_194,
    "PageAction": "soft",
}


def dimm(**properties: Any) -> dict[str, dict[str, Any]]:
    known = {"Socket": 0, "Channel": 1, "Dimm": -1, "CorrectedErrors": 0, "UncorrectedErrors": 0}
    return {"org.mcelog.Dimm": known | {"Advice": "none"} | properties}


def sampled(seen: Seen) -> dict[str, dict[tuple[str, ...], float]]:
    """Name of the sample -> label values in the order of the row -> value; as a strict reader finds them."""
    order = {row.sample: row.labels for row in METRICS}
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.openmetrics(families(seen)).decode()):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in order[sample.name])
            assert len(labels) == len(sample.labels)
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_nobody_answered() -> None:
    assert sampled(Seen(None)) == {"mcelog_up": {(): 0}}


def test_totals_only_for_who_may_not_read_more() -> None:
    found = sampled(Seen(MANAGER))
    assert found["mcelog_up"] == found["mcelog_source_reading"] == {(): 1}
    assert found["mcelog_info"] == {("9.9", "icelake_server", "Intel", "/dev/mcelog", "soft"): 1}
    assert found["mcelog_records_total"] == {(): 12}
    assert found["mcelog_records_lost_total"] == {(): 1}
    assert found["mcelog_errors_total"] == {("corrected",): 11, ("uncorrected",): 1}
    assert found["mcelog_last_event_timestamp_seconds"] == {(): 1_795_374_194}
    assert found["mcelog_memory_readable"] == {(): 0}
    assert not any("dimm" in name for name in found)


@pytest.mark.parametrize("state", ["failing", "ended", ""])
def test_source_that_is_not_read(state: str) -> None:
    assert sampled(Seen({**MANAGER, "SourceState": state}))["mcelog_source_reading"] == {(): 0}


def test_dimms() -> None:
    failing = dimm(
        Label="B1",
        CorrectedErrors=7,
        CorrectedThreshold="1000 / 24h",
        Advice="replace",
        FaultMode="bank",
        Size=16 << 30,
        LastErrorTime=1_795_374_000,
        SerialNumber="S1",
    )
    found = sampled(Seen(MANAGER, {"/org/mcelog/dimm/0_1_any": failing}, {"offline": 2}))
    place = ("0", "1", "any", "B1")
    assert found["mcelog_memory_errors_total"] == {("corrected", *place): 7, ("uncorrected", *place): 0}
    assert found["mcelog_memory_threshold_errors"] == {("corrected", *place): 1000}
    assert found["mcelog_dimm_info"] == {(*place, "", "", "", "S1"): 1}
    assert found["mcelog_dimm_size_bytes"] == {place: 16 << 30}
    assert found["mcelog_dimm_last_error_timestamp_seconds"] == {place: 1_795_374_000}
    assert found["mcelog_dimm_fault"] == {("bank", *place): 1}
    advice = {word: found["mcelog_dimm_advice"][word, *place] for word in rows.ADVICE}
    assert advice == {"none": 0, "watch": 0, "replace": 1, "channel": 0}
    assert found["mcelog_pages"] == {("online",): 0, ("offline",): 2, ("offline-failed",): 0}


def test_what_is_not_known_is_absent() -> None:
    """No zero that somebody takes for 1970, no threshold of nothing."""
    found = sampled(Seen({**MANAGER, "LastEventTime": 0}, {"/org/mcelog/dimm/0_1_any": dimm()}))
    absent = ("last_event_timestamp_seconds", "memory_threshold_errors", "dimm_size_bytes", "dimm_fault")
    assert {f"mcelog_{name}" for name in absent} & found.keys() == set()


def test_cores_are_summed_up_by_socket() -> None:
    cores = [(1, 3, 1, {"cache": 2, "tlb": 1}), (65, 4, 0, {"cache": 4})]
    one = {"org.mcelog.Socket": {"Socket": 1, "CorrectedErrors": 5, "UncorrectedErrors": 0, "Cores": cores}}
    found = sampled(Seen(MANAGER, {"/org/mcelog/socket/1": one}))
    assert found["mcelog_cpu_errors_total"] == {("cache", "1"): 6, ("tlb", "1"): 1}
    assert found["mcelog_socket_memory_errors_total"] == {("corrected", "1"): 5, ("uncorrected", "1"): 0}


def test_labels_of_the_firmware_are_text_whatever_they_hold() -> None:
    label = 'a"b\\c\nd\u2028 e'
    found = sampled(Seen(MANAGER, {"/org/mcelog/dimm/0_1_any": dimm(Label=label)}))
    assert ("corrected", "0", "1", "any", label) in found["mcelog_memory_errors_total"]


def test_how_many_series_there_are_does_not_depend_on_how_much_is_broken() -> None:
    """32 DIMMs, 2 sockets of 256 CPUs, all with errors."""
    kinds = dict.fromkeys(("cache", "tlb", "bus", "io", "internal", "unknown"), 1)
    objects: dict[str, Any] = {
        f"/org/mcelog/dimm/{n // 16}_{n % 16 // 2}_{n % 2}": dimm(
            Socket=n // 16, Channel=n % 16 // 2, Dimm=n % 2, FaultMode="row", CorrectedThreshold="1 / 1h"
        )
        for n in range(32)
    }
    for number in range(2):
        cores = [(cpu, 6, 6, kinds) for cpu in range(256)]
        socket_properties = {"Socket": number, "CorrectedErrors": 1 << 40, "Cores": cores}
        objects[f"/org/mcelog/socket/{number}"] = {"org.mcelog.Socket": socket_properties}
    found = sampled(Seen(MANAGER, objects, {"offline": 100_000}))
    assert sum(map(len, found.values())) < 350


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_rows_are_named_by_the_rules(row: Metric) -> None:
    assert re.fullmatch(r"mcelog(_[a-z]+)*", row.name)
    assert not row.name.endswith(("_total", "_info", "_created", "_count"))
    assert row.name.endswith(row.unit)
    assert row.unit in ("", "seconds", "bytes")
    assert row.help.endswith(".")
    assert {"address", "addr", "page", "cpu", "id"} & set(row.labels) == set()


def test_every_row_is_shown_with_its_help_type_and_unit() -> None:
    kinds = {"Cores": [(1, 1, 1, {"cache": 1})], "Socket": 0}
    full = dimm(Size=1, LastErrorTime=1, FaultMode="row", CorrectedThreshold="1 / 1h")
    objects = {"/org/mcelog/dimm/0_1_any": full, "/org/mcelog/socket/0": {"org.mcelog.Socket": kinds}}
    shown = text.openmetrics(families(Seen(MANAGER, objects))).decode()
    assert shown.endswith("# EOF\n")
    for row in METRICS:
        assert f"# HELP {row.name} {row.help}\n" in shown
        assert f"# TYPE {row.name} {row.type.value}\n" in shown
        assert (f"# UNIT {row.name} {row.unit}\n" in shown) == bool(row.unit)
        assert re.search(rf"^{row.sample}(\{{.*\}})? ", shown, re.MULTILINE)


def test_the_reference_has_every_metric() -> None:
    written = re.findall(r"^\| `(mcelog\w*)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", REFERENCE.read_text(), re.M)
    expected = [
        (row.sample, row.type.value, ", ".join(f"`{name}`" for name in row.labels), row.help)
        for row in METRICS
    ]
    assert written == expected


FROM_ELSEWHERE = {"node_textfile_mtime_seconds"}


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:mcelog|node)_\w+", query))


def test_alert_rules_and_dashboard_ask_for_what_there_is() -> None:
    samples = {row.sample for row in METRICS} | FROM_ELSEWHERE
    asked = names_in("\n".join(re.findall(r"^ +expr: (.*)$", RULES.read_text(), re.MULTILINE)))
    assert asked
    assert asked - samples == set()
    queries = list(queries_of(json.loads(DASHBOARD.read_text())))
    assert len(queries) > 10
    assert names_in("\n".join(queries)) - samples == set()


def queries_of(dashboard: Any) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield from (variable[key] for key in ("definition",) if key in variable)


def test_the_dashboard_is_one() -> None:
    """What Grafana needs of it: unique panels on a grid of 24 columns that do not overlap."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    assert "id" not in dashboard, "Grafana gives it one"
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_labels_that_the_dashboard_shows_are_there() -> None:
    """In legends and columns; a name that is wrong would be an empty place."""
    labels = {row.sample: {*row.labels, "instance"} for row in METRICS}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        (target,) = panel["targets"]
        columns = [one["options"]["indexByName"] for one in panel.get("transformations", ())]
        named = {
            *re.findall(r"{{(\w+)}}", target["legendFormat"]),
            *(name for one in columns for name in one),
        }
        known = set().union(*(labels[name] for name in names_in(target["expr"])))
        assert named - known == set(), panel["title"]


# -- where they go -----------------------------------------------------------------------------


def test_a_reader_of_the_file_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "mcelog.prom"
    contents = {bytes([letter]) * 200_000 for letter in b"ab"}
    textfile.replace(path, b"a" * 200_000)
    done = threading.Event()
    writer = threading.Thread(
        target=lambda: [textfile.replace(path, one) for _ in range(100) for one in contents] and done.set()
    )
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= contents
    assert list(tmp_path.iterdir()) == [path]


def test_the_endpoint_makes_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """mcelog-exporter.service has RestrictAddressFamilies=AF_UNIX."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socket", None)
        server = endpoint.Server(listener, lambda _: (b"", ""))
        assert server.fileno() == listener.fileno()


def test_the_endpoint_ends_when_nobody_asks() -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listener.getsockname()[1] for listener in listeners]
    render = lambda accept: (accept.encode(), "text/plain")  # noqa: E731
    thread = threading.Thread(target=endpoint.serve, args=(listeners, render, 0.5))
    thread.start()
    for port in ports:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "this"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.read() == b"this"
    begun = time.monotonic()
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - begun > 0.3


def test_counters_only_are_called_total() -> None:
    assert {row.type for row in METRICS if row.sample.endswith("_total")} == {Type.COUNTER}
