# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl metrics` in its three ways, of a real daemon, read by what reads it: promtool and Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as classic_families

from .conftest import Scratch, memory_error, wait_for
from .ctl_peers import ROOT, command, ctl, environment
from .dbus_daemon import CACHE, daemon_on, polkit_on, rule, shipped_bus
from .privatebus import NOBODY, PrivateBus, need, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client import Metric

PANELS = json.loads((ROOT / "data/grafana/mcelog.json").read_text())["panels"]
RULES = ROOT / "data/prometheus/mcelog.rules.yml"
ALERT_TESTS = ROOT / "tests/prometheus/mcelog.test.yml"
POLKIT_RULE = ROOT / "data/polkit/50-mcelog-exporter.rules"
UNPACKED = ROOT / ".venv/debian"

UNCORRECTED = 0xBE00000000010090
"""MCi_STATUS of a memory error that lost data."""
DIMM = {"socket": "0", "channel": "0", "dimm": "any", "label": ""}


def unpacked_program(name: str) -> str:
    """A program that listens when installed: the one that tools/test unpacked, or one that is installed."""
    unpacked = next(UNPACKED.glob(f"*/usr/*bin/{name}"), None)
    found = str(unpacked) if unpacked is not None else shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"CI must have {name}"
        pytest.skip(f"{name} is not installed; tools/test fetches it")
    return found


def values(families: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateBus, Scratch]]:
    """One that has read three corrected memory errors and one of a cache."""
    errors = b"".join(memory_error(number) for number in range(3)) + memory_error(9, status=CACHE, extcpu=1)
    with private_bus() as bus, daemon_on(bus, tmp_path_factory.mktemp("daemon"), errors) as scratch:
        yield bus, scratch


@pytest.fixture
def bus(daemon: tuple[PrivateBus, Scratch]) -> PrivateBus:
    return daemon[0]


def test_what_is_printed(bus: PrivateBus) -> None:
    ran = ctl("metrics", bus=bus)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = values(text_string_to_metric_families(ran.stdout))
    assert value(found, "mcelog_up") == 1
    assert value(found, "mcelog_source_reading") == 1
    assert value(found, "mcelog_records_total") == 4
    assert value(found, "mcelog_errors_total", severity="corrected") == 4
    assert value(found, "mcelog_errors_total", severity="uncorrected") == 0
    assert value(found, "mcelog_memory_errors_total", severity="corrected", **DIMM) == 3
    assert value(found, "mcelog_memory_threshold_errors", severity="corrected", **DIMM) == 10
    assert value(found, "mcelog_socket_memory_errors_total", severity="corrected", socket="0") == 3
    assert value(found, "mcelog_cpu_errors_total", kind="cache", socket="0") == 1
    assert value(found, "mcelog_dimm_advice", advice="watch", **DIMM) == 1
    assert value(found, "mcelog_dimm_advice", advice="replace", **DIMM) == 0
    assert sum(number for (name, _), number in found.items() if name == "mcelog_pages") == 3
    assert not any(name.endswith("_created") for name, _ in found)


def test_the_file_for_node_exporter(bus: PrivateBus, tmp_path: Path) -> None:
    target = tmp_path / "mcelog.prom"
    target.write_text("old\n")
    before = target.stat().st_ino
    ran = ctl("metrics", "--textfile", str(target), bus=bus)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert target.stat().st_ino != before, "written into the file that somebody may be reading"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]
    found = values(classic_families(target.read_text()))
    assert value(found, "mcelog_memory_errors_total", severity="corrected", **DIMM) == 3
    linted = subprocess.run(
        [unpacked_program("promtool"), "check", "metrics"],
        input=target.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, b"", b"")


def test_node_exporter_shows_that_file(bus: PrivateBus, tmp_path: Path) -> None:
    assert ctl("metrics", "--textfile", str(tmp_path / "mcelog.prom"), bus=bus).returncode == 0
    port = free_port()
    argv = [unpacked_program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}"]
    argv += [
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}",
    ]
    with Program(argv, {"PATH": os.environ["PATH"]}, tmp_path / "log"):
        wait_for(lambda: can_connect(port), "node_exporter")
        found = values(classic_families(get(f"http://127.0.0.1:{port}/metrics")[2]))
    assert value(found, "node_textfile_scrape_error") == 0
    assert value(found, "mcelog_memory_errors_total", severity="corrected", **DIMM) == 3
    assert value(found, "node_textfile_mtime_seconds", file=str(tmp_path / "mcelog.prom"))


def test_a_file_that_cannot_be_written(bus: PrivateBus, tmp_path: Path) -> None:
    ran = ctl("metrics", "--textfile", str(tmp_path / "none/mcelog.prom"), bus=bus)
    expected = f"mcelogctl: cannot write {tmp_path}/none/mcelog.prom: No such file or directory\n"
    assert (ran.returncode, ran.stderr) == (1, expected)
    (tmp_path / "mcelog.prom").mkdir()
    assert ctl("metrics", "--textfile", str(tmp_path / "mcelog.prom"), bus=bus).returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mcelog.prom"], "what was begun is left"


def test_mcelog_is_not_started_for_it() -> None:
    """What an administrator stopped stays stopped, however often Prometheus asks."""
    with private_bus() as bus:
        service = bus.services / "org.mcelog.service"
        service.write_text("[D-BUS Service]\nName=org.mcelog\nExec=/bin/false\n")
        ran = ctl("metrics", bus=bus)
    assert ran.returncode == 0
    assert values(text_string_to_metric_families(ran.stdout)) == {("mcelog_up", frozenset()): 0}
    assert ran.stderr == "mcelogctl: mcelog does not run; see systemctl status mcelog\n"


def test_two_ways_at_once_and_no_socket() -> None:
    ran = ctl("metrics", "--json")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    ran = ctl("metrics", "--serve", "--textfile", "x")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    ran = ctl("metrics", "--serve")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert "mcelog-exporter.socket" in ran.stderr


# -- by HTTP -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """One that runs beside the test, and is ended with it."""

    def __init__(self, argv: list[str], env: dict[str, str], log: Path) -> None:
        with log.open("w") as output:
            self.process = subprocess.Popen(argv, env=env, stdout=output, stderr=output)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@pytest.fixture(scope="module")
def endpoint(daemon: tuple[PrivateBus, Scratch], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; started by the first who connects, as mcelog-exporter.socket does it."""
    need("systemd-socket-activate", "systemd")
    port = free_port()
    variables = environment(daemon[0])
    passed = [word for name in variables if name != "PATH" for word in ("-E", f"{name}={variables[name]}")]
    argv = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *passed, *command("metrics", "--serve")]
    with Program(argv, variables, tmp_path_factory.mktemp("endpoint") / "log"):
        wait_for(lambda: can_connect(port), "the endpoint's socket")
        yield f"http://127.0.0.1:{port}"


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(url: str, accept: str = "", method: str = "GET") -> tuple[int, str, str]:
    """Status, Content-Type and page."""
    request = urllib.request.Request(url, headers={"Accept": accept}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_pages(endpoint: str) -> None:
    status, kind, page = get(
        f"{endpoint}/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    found = values(text_string_to_metric_families(page))
    assert value(found, "mcelog_memory_errors_total", severity="corrected", **DIMM) == 3
    status, kind, page = get(f"{endpoint}/metrics?x=y", "text/plain")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert value(values(classic_families(page)), "mcelog_up") == 1
    assert "# EOF" not in page
    assert get(f"{endpoint}/metrics", method="HEAD")[::2] == (200, "")
    with urllib.request.urlopen(f"{endpoint}/", timeout=20) as answer:
        assert (answer.status, answer.headers["Server"]) == (200, "mcelog")
    assert get(f"{endpoint}/dimms")[0] == 404
    assert get(f"{endpoint}/metrics", method="POST")[0] == 501


def test_who_is_slow_holds_up_nobody(endpoint: str) -> None:
    port = int(endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        begun = time.monotonic()
        assert get(f"{endpoint}/metrics")[0] == 200
        assert time.monotonic() - begun < 9
    with socket.create_connection(("127.0.0.1", port)) as hostile:
        hostile.sendall(b"\0\xff" * 1000 + b"\r\n\r\n")
        assert hostile.recv(100)
    assert get(f"{endpoint}/metrics")[0] == 200


# -- read by Prometheus ------------------------------------------------------------------------


def promtool(*arguments: str | Path) -> None:
    ran = subprocess.run(
        [unpacked_program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_alert_rules() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", ALERT_TESTS)


def as_grafana_fills(query: str, machines: str = "db7|db8", interval: str = "10m") -> str:
    """A query of the dashboard, with Grafana's variables for a week."""
    values = {"$__range": "7d", "$__interval": interval, "$machine": machines}
    for name, given in values.items():
        query = query.replace(name, given)
    assert "$" not in query
    return query


def test_what_the_dashboard_asks_is_understood(tmp_path: Path) -> None:
    """Its queries as rules, with what Grafana puts into them."""
    filled = [as_grafana_fills(target["expr"]) for panel in PANELS for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def test_no_error_is_between_two_points_of_a_graph(tmp_path: Path) -> None:
    """However long the time shown: an hour with 30 errors, of half a year with a point for three hours."""
    graphs = [panel["targets"][0] for panel in PANELS if panel["type"] == "timeseries"]
    names = ("mcelog_memory_errors_total", "mcelog_cpu_errors_total", "mcelog_records_lost_total")
    labels = 'instance="db7",kind="cache",severity="corrected"'
    series = [{"series": f"{name}{{{labels}}}", "values": "5x200 6+1x29 35x300"} for name in names]
    asked = [f"max(round({as_grafana_fills(one['expr'], interval='3h')}, 10))" for one in graphs]
    samples = {"eval_time": "6h", "exp_samples": [{"labels": "{}", "value": 30}]}
    test = {"interval": "1m", "input_series": series}
    test["promql_expr_test"] = [{"expr": one, **samples} for one in asked]
    assert len(asked) == 3
    path = tmp_path / "test.yml"
    path.write_text(json.dumps({"tests": [test]}))
    promtool("test", "rules", path)


def test_the_configuration_in_the_documentation(tmp_path: Path) -> None:
    """Of docs/metrics.md, as it stands there, but for the place of the rules."""
    written = (
        (ROOT / "docs/metrics.md").read_text().partition("In `prometheus.yml`:\n\n")[2].partition("\n## ")[0]
    )
    config = tmp_path / "prometheus.yml"
    config.write_text(
        textwrap.dedent(written).replace("/usr/share/mcelog/prometheus/mcelog.rules.yml", str(RULES))
    )
    promtool("check", "config", config)
    assert str(RULES) in config.read_text()


PROMETHEUS = """\
global:
  scrape_interval: 300ms
  scrape_timeout: 300ms
  evaluation_interval: 300ms
rule_files: ["{rules}"]
scrape_configs:
  - job_name: mcelog
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.fixture(scope="module")
def prometheus(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of its API; it has scraped what was counted before the test."""
    scratch, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = scratch / "prometheus.yml"
    config.write_text(PROMETHEUS.format(rules=RULES, target=endpoint.removeprefix("http://")))
    argv = [unpacked_program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={scratch}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    api = f"http://127.0.0.1:{port}/api/v1"
    with Program(argv, {"PATH": os.environ["PATH"]}, scratch / "log"):
        wait_for(lambda: can_connect(port), "prometheus", 60)
        wait_for(lambda: samples(api, 'mcelog_errors_total{severity="uncorrected"}') == ["0"], "a scrape", 60)
        yield api


def test_prometheus_scrapes_it_and_an_alert_fires(
    daemon: tuple[PrivateBus, Scratch], prometheus: str
) -> None:
    daemon[1].send(memory_error(77, status=UNCORRECTED, mcgstatus=0))
    wait_for(lambda: "McelogUncorrectedErrors" in firing(prometheus), "the alert", 60)
    assert samples(prometheus, "mcelog_dimm_advice{advice='replace'}") == ["1"]
    assert {"McelogDown", "McelogBlind", "McelogRecordsLost"} & firing(prometheus) == set()


def test_every_panel_of_the_dashboard_shows_something(
    daemon: tuple[PrivateBus, Scratch], prometheus: str
) -> None:
    """After errors of all kinds, and all but what did not happen."""
    errors = memory_error(78) + memory_error(79) + memory_error(9, status=CACHE, extcpu=1)
    daemon[1].send(errors)
    wait_for(lambda: samples(prometheus, "mcelog_cpu_errors_total") == ["2"], "the errors", 60)
    quiet = {"Records lost an hour"}
    for panel in PANELS:
        series = [one for target in panel["targets"] for one in shown(prometheus, target)]
        assert bool(series) == (panel["title"] not in quiet), panel["title"]


def shown(api: str, target: Any) -> list[Any]:
    """What Prometheus answers to a query of the dashboard, asked as Grafana does."""
    now = time.time()
    query = {"query": as_grafana_fills(target["expr"], "mcelog.*|127.*")}
    if target["instant"]:
        return ask(f"{api}/query?{urllib.parse.urlencode({**query, 'time': now})}", strict=True)["result"]
    step = 600
    end = -(-now // step) * step  # what happened since its last point a graph does not show yet
    span = {"start": end - 3600, "end": end, "step": step}
    return ask(f"{api}/query_range?{urllib.parse.urlencode({**query, **span})}", strict=True)["result"]


def ask(url: str, *, strict: bool = False) -> Any:
    """What it answers; nothing, if it is not ready yet or does not understand, which fails if `strict`."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        if strict:
            raise
        with error:
            return {"result": [], "alerts": []}


def samples(api: str, query: str) -> list[str]:
    found = ask(f"{api}/query?{urllib.parse.urlencode({'query': query})}")
    return [one["value"][1] for one in found["result"]]


def firing(api: str) -> set[str]:
    alerts = ask(f"{api}/alerts")["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


# -- who may -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_the_polkit_rule_lets_its_user_read_and_no_more(tmp_path: Path) -> None:
    script = POLKIT_RULE.read_text()
    assert "mcelog-exporter" in script
    with (
        shipped_bus() as bus,
        polkit_on(bus, shipped=script.replace("mcelog-exporter", "nobody"), rest=rule("", "", "NO")),
        daemon_on(bus, tmp_path),
    ):
        objects = ("org.mcelog", "/org/mcelog", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        read = bus.run("busctl", "call", *objects, uid=NOBODY)
        assert read.returncode == 0, read.stderr
        assert "org.mcelog.Dimm" in read.stdout
        reset = ("org.mcelog", "/org/mcelog", "org.mcelog.Manager", "ResetCounters", "o", "/org/mcelog")
        refused = bus.run("busctl", "call", "--allow-interactive-authorization=no", *reset, uid=NOBODY)
        assert refused.returncode != 0
