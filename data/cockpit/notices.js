// SPDX-License-Identifier: GPL-2.0-only
// What is to be known first: the verdict, and what keeps the page from knowing more.

import { h, icon } from "./dom.js";
import { worst } from "./model.js";
import { LEVEL_SIGNS, ago, errorText, grouped, isRefusal, verdict, when } from "./texts.js";

/** @typedef {import("./bus.js").State} State */

/**
 * The word in the corner.
 * @param {State} state
 */
export function liveText({ phase }) {
    return {
        connecting: "Connecting…", running: "Live", stopped: "Not running", absent: "Not installed",
        unreachable: "Reconnecting…",
    }[phase];
}

/**
 * @param {State} state
 * @param {{start: () => void, retry: () => void, turnOn: (() => void) | null}} can
 */
export function noticesView(state, can) {
    return [phaseNotice(state, can), ...(state.phase === "running" ? runningNotices(state, can) : [])];
}

function phaseNotice({ phase, problem, machine, readAt }, { start, retry }) {
    const old = machine ? `What is shown below was read ${when(readAt)}.` : "";
    switch (phase) {
    case "stopped":
        return notice("alert", "mcelog is not running: hardware errors are not recorded.", [
            old, problem && `It could not be started: ${problem}`,
            h("span", {}, "To have it run now and after each boot: ", code("systemctl enable --now mcelog.service mcelog.socket"),
                ". Why it ended: ", code("journalctl -u mcelog"), "."),
        ], button("start", "Start mcelog", start));
    case "absent":
        return notice("alert", "mcelog is not installed on this machine.", [
            old, h("span", {}, "Install it, on Debian by ", code("apt install mcelog"),
                ". If it is installed, the bus does not know it yet: ", code("systemctl reload dbus"), "."),
        ], button("retry", "Try again", retry));
    case "unreachable":
        return notice("warning", "There is no connection to the system bus.", [
            old, problem, "It is tried again every few seconds. If you were logged out, reload the page.",
        ], button("retry", "Try again", retry));
    default:
        return null;
    }
}

function runningNotices({ refusal, machine, problem }, { turnOn }) {
    return [
        refusal && (isRefusal(refusal)
            ? notice("eye", "You may not see the errors of single DIMMs, pages and events.", [
                turnOn ? "They hold addresses of memory, so they are for administrators."
                    : h("span", {}, "An administrator can allow it: the rule for polkit's ", code("org.mcelog.read"),
                        " is in mcelog's documentation, dbus.md."),
            ], turnOn && button("turn-on", "Turn on administrative access", turnOn))
            : notice("warning", "mcelog could not be asked for everything.", [errorText(refusal)])),
        problem && notice("warning", "mcelog does not answer.", [problem]),
        machine.SourceState === "failing" && notice("alert", `mcelog cannot read ${machine.Source}.`, [
            h("span", {}, "Errors may be missed; it is tried again. Why: ", code("mcelogctl doctor"), "."),
        ]),
    ];
}

function notice(sign, title, lines, action) {
    return h("div", { class: "notice", "data-sign": sign, role: sign === "alert" ? "alert" : "status" },
        icon(sign), h("div", {}, h("strong", {}, title), ...lines.filter(Boolean).map(line => h("p", {}, line))), action);
}

function button(key, text, onclick) {
    return h("button", { type: "button", class: "primary", "data-key": key, onclick }, text);
}

function code(text) {
    return h("code", {}, text);
}

/**
 * Is there something to do? And the machine's totals, which anybody may read.
 * @param {State} state
 * @param {number} now
 * @param {(path: string) => void} select
 */
export function verdictView({ machine, dimms, refusal }, now, select) {
    const known = machine ?? {};
    const [first] = worst(dimms);
    return [
        refusal ? null : verdictLine(verdict(dimms, /** @type {any} */ (known), now),
            first && h("button", { type: "button", "data-key": "details", onclick: () => select(first.path) }, "Show details")),
        h("dl", { class: "totals" },
            ...total("Corrected errors", grouped(known.CorrectedErrors)),
            ...total("Uncorrected errors", grouped(known.UncorrectedErrors), known.UncorrectedErrors > 0),
            ...(known.RecordsLost ? total("Records lost before they were read", grouped(known.RecordsLost), true) : []),
            ...total("Last event", known.LastEventTime ? ago(known.LastEventTime, now) : "none"),
            ...total("Processor", [known.CpuVendor, known.CpuType].filter(Boolean).join(" "))),
    ];
}

function verdictLine({ level, title, text }, action) {
    return h("div", { class: "verdict", "data-level": level },
        icon(LEVEL_SIGNS[level].icon), h("div", {}, h("h2", {}, title), text ? h("p", {}, text) : null), action);
}

function total(name, value, isBad = false) {
    return [h("div", { class: isBad ? "bad" : "" }, h("dt", {}, name), h("dd", {}, value))];
}
