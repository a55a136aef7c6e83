// SPDX-License-Identifier: GPL-2.0-only
// What the page says. Pure, like model.js.

import { allowed, levelOf, period, worst } from "./model.js";

/** @typedef {import("./model.js").Dimm} Dimm */

/** How a level is called and which sign it has: never by its colour alone. */
export const LEVEL_SIGNS = /** @type {const} */ ({
    quiet: { word: "No errors", icon: "ok" },
    past: { word: "Errors earlier", icon: "dot" },
    some: { word: "A few errors", icon: "eye" },
    many: { word: "Many errors", icon: "warning" },
    over: { word: "Too many errors", icon: "alert" },
    replace: { word: "Replace", icon: "swap" },
});

/**
 * The sign on a DIMM of the map.
 * @param {Dimm & {isSuspect?: boolean}} dimm
 */
export function levelSign(dimm) {
    return dimm.isSuspect ? "dot" : LEVEL_SIGNS[levelOf(dimm)].icon;
}

/** How a severity is called, and its sign. */
export const SEVERITY_SIGNS = /** @type {const} */ ({
    info: { level: "quiet", icon: "dot" },
    corrected: { level: "some", icon: "eye" },
    deferred: { level: "over", icon: "warning" },
    recoverable: { level: "over", icon: "warning" },
    uncorrected: { level: "replace", icon: "alert" },
    fatal: { level: "replace", icon: "alert" },
});

const FAULTS = {
    cell: "One cell: errors come from a single place.",
    row: "A row: errors come from one row of a chip.",
    column: "A column: errors come from one column of a chip.",
    bank: "A bank: errors are spread over one bank of a chip.",
    device: "A device: errors are spread over the banks of one chip or rank.",
    channel: "The channel: errors hit several DIMMs behind it, so its slot, board or processor is suspect.",
    unknown: "Unknown: where in the DIMM the errors were is not reported, or they have nothing in common.",
};

/**
 * What a DIMM's errors have in common.
 * @param {string} mode
 */
export function faultText(mode) {
    return FAULTS[mode] ?? mode;
}

/**
 * The word on a DIMM of the map.
 * @param {Dimm & {isSuspect?: boolean}} dimm
 */
export function levelWord(dimm) {
    if (dimm.isSuspect)
        return "Maybe this one";
    const level = levelOf(dimm);
    if (level === "over" && dimm.Advice === "channel")
        return "Check channel";
    if (level === "over" && dimm.UncorrectedErrors)
        return "Uncorrected errors";
    if (level === "some" && !dimm.CorrectedInPeriod)
        return "Watch";
    return LEVEL_SIGNS[level].word;
}

/**
 * What to call a DIMM: what is printed on the board, or else its numbers.
 * @param {Pick<Dimm, "Label" | "Socket" | "Channel" | "Dimm">} dimm
 */
export function nameOf(dimm) {
    return dimm.Label || `Socket ${number(dimm.Socket)}, ${placeOf(dimm)}`;
}

/**
 * Where a DIMM sits in its socket, by the numbers of the hardware.
 * @param {Pick<Dimm, "Channel" | "Dimm">} dimm
 */
export function placeOf(dimm) {
    const channel = dimm.Channel < 0 ? "any channel" : `channel ${dimm.Channel}`;
    return dimm.Dimm < 0 ? `${channel}, any DIMM` : `${channel}, DIMM ${dimm.Dimm}`;
}

function number(value) {
    return value < 0 ? "?" : String(value);
}

/**
 * A path of the bus in words, for what has no DIMM of its own: the object of an event.
 * @param {string} path
 */
export function objectText(path) {
    const dimm = /\/dimm\/(\w+?)_(\w+?)_(\w+)$/.exec(path);
    if (dimm) {
        const [socket, channel, slot] = dimm.slice(1).map(word => word === "any" ? -1 : Number(word));
        return nameOf({ Label: "", Socket: socket, Channel: channel, Dimm: slot });
    }
    const socket = /\/socket\/(\w+)$/.exec(path);
    return socket ? `Socket ${socket[1]}` : "";
}

/**
 * How many errors there were lately, and how many are too many.
 * @param {number} count
 * @param {string} threshold
 */
export function rateText(count, threshold) {
    const most = allowed(threshold);
    return most ? `${grouped(count)} in ${period(threshold)}, limit ${grouped(most)}` : grouped(count);
}

/**
 * The same where there is little room.
 * @param {number} count
 * @param {string} threshold
 */
export function shortRate(count, threshold) {
    const most = allowed(threshold);
    return most ? `${grouped(count)} / ${grouped(most)} in ${period(threshold)}` : grouped(count);
}

/** @param {number} value */
export function grouped(value) {
    return value.toLocaleString("en");
}

/**
 * "1 error", "2 errors".
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
    return `${grouped(count)} ${count === 1 ? one : many}`;
}

/**
 * How long ago something was.
 * @param {number} time seconds since 1970
 * @param {number} now
 */
export function ago(time, now) {
    const seconds = Math.max(now - time, 0);
    for (const [length, name] of /** @type {[number, string][]} */ ([[86400, "day"], [3600, "hour"], [60, "minute"]])) {
        if (seconds >= length)
            return `${counted(Math.floor(seconds / length), name)} ago`;
    }
    return "just now";
}

/**
 * Date and time as the reader writes them.
 * @param {number} time seconds since 1970
 * @param {string} [language] of the browser, if it is not said
 */
export function when(time, language) {
    const date = new Date(time * 1000);
    return date.toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
}

/** @param {number} bytes */
export function sizeText(bytes) {
    if (!bytes)
        return "";
    return bytes >= 2 ** 30 ? `${+(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** @param {number} value */
export function hex(value) {
    return `0x${value.toString(16)}`;
}

/** @param {string} state of a page */
export function pageStateText(state) {
    return { online: "In use", offline: "Out of use", "offline-failed": "Could not be taken out" }[state] ?? state;
}

/**
 * @typedef {Object} Verdict
 * @property {import("./model.js").Level} level
 * @property {string} title the answer to: is there something to do?
 * @property {string} text why; may be empty
 */

/**
 * What an administrator is to know first.
 * @param {Dimm[]} dimms
 * @param {{LastEventTime: number, RecordsRead: number}} machine
 * @param {number} now
 * @returns {Verdict}
 */
export function verdict(dimms, machine, now) {
    const bad = worst(dimms);
    if (!bad.length)
        return noFinding(dimms, machine, now);
    const level = levelOf(bad[0]);
    const same = bad.filter(dimm => levelOf(dimm) === level && dimm.Advice === bad[0].Advice);
    const names = same.length > 3 ? counted(same.length, "DIMM") : listed(same.map(nameOf));
    return { level, title: titleOf(level, same, names), text: reasonOf(bad[0]) };
}

function titleOf(level, dimms, names) {
    if (level === "replace")
        return `Replace ${names}`;
    if (level === "over" && dimms[0].Advice === "channel")
        return `Check the channel of ${names}, not the DIMM alone`;
    if (level === "over" && dimms[0].UncorrectedErrors)
        return `${names} had uncorrected errors`;
    const verb = dimms.length === 1 ? "has" : "have";
    return {
        over: `${names} ${verb} more errors than the threshold allows`,
        many: `${names} ${verb} many errors`,
        some: dimms.some(dimm => dimm.CorrectedInPeriod) ? `${names} ${verb} a few errors: watch` : `Watch ${names}`,
    }[level];
}

function reasonOf(dimm) {
    if (dimm.AdviceReasons.length)
        return dimm.AdviceReasons.slice(0, 2).map(sentence).join(" ");
    const corrected = rateText(dimm.CorrectedInPeriod, dimm.CorrectedThreshold);
    return `Corrected errors: ${corrected}. Uncorrected errors: ${grouped(dimm.UncorrectedErrors)}.`;
}

function noFinding(dimms, machine, now) {
    const last = machine.LastEventTime;
    const title = dimms.some(dimm => dimm.CorrectedErrors) ? "No memory errors now" : "No memory errors";
    const text = last
        ? `No hardware error since ${when(last)} (${ago(last, now)}).`
        : "mcelog has not recorded any hardware error.";
    return { level: /** @type {const} */ ("quiet"), title, text };
}

/** @param {string[]} names */
export function listed(names) {
    return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

function sentence(text) {
    const first = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(first) ? first : `${first}.`;
}

/**
 * What went wrong with a call on the bus, for people.
 * @param {any} error with `name` of D-Bus, `message`, or `problem` of Cockpit
 */
export function errorText(error) {
    if (isRefusal(error))
        return "You are not allowed to do this.";
    return error?.message || error?.problem || String(error);
}

/**
 * Whether polkit, the bus or Cockpit said no.
 * @param {any} error
 */
export function isRefusal(error) {
    return ["org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"].includes(error?.name)
        || error?.problem === "access-denied";
}
