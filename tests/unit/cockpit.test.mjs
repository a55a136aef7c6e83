// SPDX-License-Identifier: GPL-2.0-only
// What the page of data/cockpit makes of mcelog's numbers, without a browser. test_cockpit.py runs it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as history from "../../data/cockpit/history.js";
import * as layout from "../../data/cockpit/layout.js";
import * as model from "../../data/cockpit/model.js";
import * as texts from "../../data/cockpit/texts.js";

const NOW = 1_795_000_000;

function dimm(changes = {}) {
    const [socket, channel, slot] = [changes.Socket ?? 0, changes.Channel ?? 0, changes.Dimm ?? 0];
    return {
        path: `/org/mcelog/dimm/${socket}_${channel}_${slot < 0 ? "any" : slot}`,
        Socket: socket, Channel: channel, Dimm: slot, Label: "", Location: "", Manufacturer: "", PartNumber: "",
        SerialNumber: "", Size: 0, CorrectedErrors: 0, UncorrectedErrors: 0, CorrectedInPeriod: 0,
        UncorrectedInPeriod: 0, CorrectedThreshold: "10 / 24h", UncorrectedThreshold: "1 / 24h", LastErrorTime: 0,
        FaultMode: "", Advice: "none", AdviceReasons: [], ...changes,
    };
}

function event(id, changes = {}) {
    return { id, time: NOW - 60, kind: "memory", severity: "corrected", cpu: 0, bank: 1, object: "/a", summary: "", ...changes };
}

test("a threshold is a count and a period", () => {
    assert.equal(model.allowed("10 / 24h"), 10);
    assert.equal(model.period("10 / 24h"), "24h");
    assert.equal(model.period("10 / 30"), "30s");
    assert.equal(model.allowed(""), 0);
    assert.equal(model.period(""), "");
});

test("the level follows the error rate, and is at least what the diagnosis says", () => {
    const cases = [
        ["quiet", {}],
        ["past", { CorrectedErrors: 9 }],
        ["some", { CorrectedErrors: 9, CorrectedInPeriod: 4 }],
        ["some", { CorrectedErrors: 9, CorrectedInPeriod: 4, CorrectedThreshold: "" }],
        ["some", { CorrectedErrors: 2, Advice: "watch" }],
        ["many", { CorrectedErrors: 9, CorrectedInPeriod: 5 }],
        ["over", { CorrectedErrors: 10, CorrectedInPeriod: 10 }],
        ["over", { UncorrectedErrors: 1 }],
        ["over", { CorrectedErrors: 3, Advice: "channel" }],
        ["replace", { CorrectedErrors: 2, CorrectedInPeriod: 2, Advice: "replace" }],
    ];
    for (const [level, changes] of cases)
        assert.equal(model.levelOf(dimm(changes)), level, JSON.stringify(changes));
});

test("every level has a word and a sign of its own", () => {
    const signs = Object.values(texts.LEVEL_SIGNS);
    assert.deepEqual(Object.keys(texts.LEVEL_SIGNS), model.LEVELS);
    assert.equal(new Set(signs.map(sign => sign.word)).size, signs.length);
    assert.equal(new Set(signs.map(sign => sign.icon)).size, signs.length);
});

test("errors older than the period do not count against the threshold", () => {
    const old = dimm({ CorrectedErrors: 9, CorrectedInPeriod: 9, LastErrorTime: NOW - 86400 });
    assert.equal(model.recent(old, NOW), 0);
    assert.equal(model.recent(old, NOW - 1), 9);
    assert.equal(model.recent({ ...old, LastErrorTime: 0 }, NOW), 9);
    assert.equal(model.recent({ ...old, CorrectedThreshold: "" }, NOW), 9);
    assert.equal(model.recent({ ...old, CorrectedThreshold: "9 / 30", LastErrorTime: NOW - 30 }, NOW), 0);
    assert.equal(model.levelOf(model.asOf([old], NOW)[0]), "past");
});

test("the worst DIMM is first, those without a finding are left out", () => {
    const [failing, busy, well] = [
        dimm({ Advice: "replace" }), dimm({ CorrectedInPeriod: 7 }), dimm({ CorrectedErrors: 7 })];
    assert.deepEqual(model.worst([well, busy, failing]), [failing, busy]);
});

test("the map has sockets and channels in their order, what is not known last", () => {
    const dimms = [
        dimm({ Socket: 1, Channel: 10 }), dimm({ Socket: -1, Channel: 0 }), dimm({ Socket: 1, Channel: 2 }),
        dimm({ Socket: 0, Channel: -1, Dimm: 3 }), dimm({ Socket: 0, Channel: 4, Dimm: 1 }),
        dimm({ Socket: 0, Channel: 4, Dimm: 0 }),
    ];
    const found = layout.mapOf(dimms).map(({ socket, channels }) =>
        [socket, channels.map(({ channel, dimms: inside }) => [channel, inside.map(one => one.Dimm)])]);
    assert.deepEqual(found, [[0, [[4, [0, 1]], [-1, [3]]]], [1, [[2, [0]], [10, [0]]]], [-1, [[0, [0]]]]]);
});

test("an error of a channel is that of its only DIMM", () => {
    const any = dimm({ Dimm: -1, CorrectedErrors: 3 });
    const [only, ...rest] = layout.toldApart([any, dimm({ Label: "A1", SerialNumber: "12" })]);
    assert.deepEqual(rest, []);
    assert.equal(only.path, any.path);
    assert.equal(only.CorrectedErrors, 3);
    assert.equal(texts.nameOf(only), "A1");
    assert.equal(only.SerialNumber, "12");
});

test("of two DIMMs on a channel that errs none is called healthy", () => {
    const any = dimm({ Dimm: -1, CorrectedErrors: 3 });
    const told = layout.toldApart([any, dimm({ Dimm: 0 }), dimm({ Dimm: 1, CorrectedErrors: 1 })]);
    assert.deepEqual(told.map(texts.levelWord), ["Errors earlier", "Maybe this one", "Errors earlier"]);
    const quiet = layout.toldApart([dimm({ Dimm: -1 }), dimm({ Dimm: 0 }), dimm({ Dimm: 1 })]);
    assert.deepEqual(quiet.map(texts.levelWord), ["No errors", "No errors"]);
    const watched = layout.toldApart([dimm({ Dimm: -1, Advice: "watch" }), dimm({ Dimm: 0 }), dimm({ Dimm: 1 })]);
    assert.deepEqual(watched.map(texts.levelWord), ["Watch", "No errors", "No errors"]);
});

test("arrow keys go along channels and across them", () => {
    const sockets = layout.mapOf([
        dimm({ Channel: 0, Dimm: 0 }), dimm({ Channel: 0, Dimm: 1 }), dimm({ Channel: 1 }), dimm({ Socket: 1 })]);
    const [a0, a1, b, c] = sockets.flatMap(one => one.channels).flatMap(one => one.dimms).map(one => one.path);
    const steps = [
        [a0, "ArrowDown", a1], [a1, "ArrowUp", a0], [a1, "ArrowRight", b], [b, "ArrowRight", c], [b, "ArrowLeft", a0],
        [a0, "ArrowUp", null], [a0, "ArrowLeft", null], [c, "ArrowRight", null], [b, "Home", a0], [a0, "End", c],
        [a0, "x", null], ["/gone", "ArrowDown", null],
    ];
    for (const [from, key, to] of steps)
        assert.equal(layout.neighbour(sockets, from, key), to, `${key} from ${from}`);
});

test("pages: what failed first, then by errors, what is out of use last", () => {
    const page = (address, state, inPeriod, total = inPeriod) => ({ address, state, inPeriod, total, reason: "", since: 0 });
    const sorted = model.sortPages([
        page(1, "offline", 90), page(2, "online", 1), page(3, "online", 5), page(4, "offline-failed", 2),
        page(5, "online", 1, 8), page(6, "online", 1)]);
    assert.deepEqual(sorted.map(one => one.address), [4, 3, 5, 2, 6, 1]);
});

test("a trend has each event in the bar of its time", () => {
    const bars = history.trend([
        event(1, { time: NOW - 86400 - 1 }), event(2, { time: NOW - 86400 }), event(3, { time: NOW - 3601 }),
        event(4, { time: NOW - 3600, severity: "deferred" }), event(5, { time: NOW + 10 })], "day", NOW);
    assert.equal(bars.length, 24);
    assert.deepEqual([bars[0].corrected, bars[22].corrected, bars[23].corrected, bars[23].other], [1, 1, 1, 1]);
    assert.equal(bars.reduce((sum, bar) => sum + bar.corrected + bar.other, 0), 4);
    assert.equal(bars[23].to, NOW);
});

test("what came many times in a row is one line, until it is unfolded", () => {
    const events = [event(1), event(2), event(3, { severity: "fatal" }), event(4), event(5), event(6)];
    const lines = unfolded => history.folded(events, new Set(unfolded)).map(line => [line.event.id, line.first.id, line.count]);
    assert.deepEqual(lines([]), [[6, 4, 3], [3, 3, 1], [2, 1, 2]]);
    assert.deepEqual(lines([4]), [[6, 6, 1], [5, 5, 1], [4, 4, 1], [3, 3, 1], [2, 1, 2]]);
});

test("new events are added once, and the oldest go", () => {
    const joined = history.joined([event(1), event(2)], [event(2), event(3), event(4)], 3);
    assert.deepEqual(joined.map(one => one.id), [2, 3, 4]);
    assert.deepEqual(history.joined([], [], 3), []);
});

test("the last event is found from any guess, in few steps", async () => {
    for (const last of [0, 1, 2, 63, 64, 65, 5000, 1_234_567]) {
        for (const guess of [0, 1, last - 1, last, last + 1, 3_000_000]) {
            let asked = 0;
            const found = await history.lastId(async id => { asked += 1; return id < last }, guess);
            assert.equal(found, last, `guess ${guess}`);
            assert.ok(asked < 45, `${asked} questions for ${last} from ${guess}`);
        }
    }
});

test("a DIMM without a label goes by its numbers", () => {
    assert.equal(texts.nameOf(dimm({ Label: "A1" })), "A1");
    assert.equal(texts.nameOf(dimm({ Socket: 1, Channel: 2, Dimm: -1 })), "Socket 1, channel 2, any DIMM");
    assert.equal(texts.objectText("/org/mcelog/dimm/0_11_any"), "Socket 0, channel 11, any DIMM");
    assert.equal(texts.objectText("/org/mcelog/dimm/0_any_1"), "Socket 0, any channel, DIMM 1");
    assert.equal(texts.objectText("/org/mcelog/socket/1"), "Socket 1");
    assert.equal(texts.objectText("/"), "");
});

test("the verdict names the DIMM, and says why", () => {
    const machine = { LastEventTime: 0, RecordsRead: 0 };
    const said = (...dimms) => texts.verdict(dimms, machine, NOW);
    const bad = dimm({ Label: "A1", Advice: "replace", AdviceReasons: ["2 storms", "one cell", "third"] });
    assert.deepEqual(said(dimm(), bad), { level: "replace", title: "Replace A1", text: "2 storms. One cell." });
    assert.equal(said(bad, { ...bad, Label: "B1" }).title, "Replace A1 and B1");
    assert.equal(said(...Array(4).fill(bad)).title, "Replace 4 DIMMs");
    assert.match(said(dimm({ Label: "A1", Advice: "channel" })).title, /^Check the channel of A1/);
    assert.match(said(dimm({ Label: "A1", UncorrectedErrors: 1 })).title, /had uncorrected errors/);
    const over = said(dimm({ Label: "A1", CorrectedErrors: 12, CorrectedInPeriod: 12 }));
    assert.equal(over.title, "A1 has more errors than the threshold allows");
    assert.match(over.text, /12 in 24h, limit 10/);
});

test("without a finding the verdict says since when", () => {
    const machine = { LastEventTime: 0, RecordsRead: 0 };
    assert.deepEqual(texts.verdict([dimm()], machine, NOW), {
        level: "quiet", title: "No memory errors", text: "mcelog has not recorded any hardware error." });
    const later = texts.verdict([dimm({ CorrectedErrors: 1 })], { ...machine, LastEventTime: NOW - 3 * 86400 }, NOW);
    assert.equal(later.title, "No memory errors now");
    assert.match(later.text, /^No hardware error since .* \(3 days ago\)\.$/);
});

test("numbers and times are readable", () => {
    assert.equal(texts.counted(1, "page"), "1 page");
    assert.equal(texts.counted(12000, "page"), "12,000 pages");
    assert.equal(texts.ago(NOW - 59, NOW), "just now");
    assert.equal(texts.ago(NOW - 60, NOW), "1 minute ago");
    assert.equal(texts.ago(NOW + 5, NOW), "just now");
    assert.equal(texts.sizeText(64 * 2 ** 30), "64 GiB");
    assert.equal(texts.sizeText(512 * 2 ** 20), "512 MiB");
    assert.equal(texts.sizeText(0), "");
    assert.equal(texts.hex(2 ** 46 + 4096), "0x400000001000");
    assert.equal(texts.listed(["a", "b", "c"]), "a, b and c");
});

test("a refusal is told from a failure", () => {
    assert.ok(texts.isRefusal({ name: "org.freedesktop.DBus.Error.AccessDenied" }));
    assert.ok(texts.isRefusal({ name: "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" }));
    assert.ok(texts.isRefusal({ problem: "access-denied" }));
    assert.ok(!texts.isRefusal(new Error("other")));
    assert.equal(texts.errorText({ name: "org.mcelog.Error.NotPossible", message: "no such page" }), "no such page");
    assert.equal(texts.errorText({ problem: "disconnected" }), "disconnected");
});
