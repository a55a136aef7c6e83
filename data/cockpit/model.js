// SPDX-License-Identifier: GPL-2.0-only
// What the numbers of mcelog amount to: which DIMM is how bad, what is where, when it happened.
// Pure: neither the page nor the bus is known here, and the time comes in as an argument.

/**
 * A DIMM as org.mcelog.Dimm has it, and where it is on the bus.
 * @typedef {Object} Dimm
 * @property {string} path
 * @property {number} Socket
 * @property {number} Channel -1: the hardware does not say
 * @property {number} Dimm -1: the hardware does not say
 * @property {string} Label
 * @property {string} Location
 * @property {string} Manufacturer
 * @property {string} PartNumber
 * @property {string} SerialNumber
 * @property {number} Size bytes; 0 if nobody says
 * @property {number} CorrectedErrors
 * @property {number} UncorrectedErrors
 * @property {number} CorrectedInPeriod
 * @property {number} UncorrectedInPeriod
 * @property {string} CorrectedThreshold such as "10 / 24h"; may be empty
 * @property {string} UncorrectedThreshold
 * @property {number} LastErrorTime seconds since 1970, or 0
 * @property {string} FaultMode
 * @property {string} Advice none, watch, replace or channel
 * @property {string[]} AdviceReasons
 */

/**
 * An event of GetEvents.
 * @typedef {Object} Event
 * @property {number} id
 * @property {number} time seconds since 1970
 * @property {string} kind
 * @property {string} severity
 * @property {number} cpu
 * @property {number} bank
 * @property {string} object path of a DIMM or socket, or "/"
 * @property {string} summary
 */

/**
 * A page of ListPages.
 * @typedef {Object} Page
 * @property {number} address
 * @property {number} total
 * @property {number} inPeriod
 * @property {string} state online, offline or offline-failed
 * @property {string} reason
 * @property {number} since
 */

/** @typedef {"quiet" | "past" | "some" | "many" | "over" | "replace"} Level from good to bad */

/** @type {Level[]} */
export const LEVELS = ["quiet", "past", "some", "many", "over", "replace"];

/**
 * How many errors a threshold allows.
 * @param {string} threshold "10 / 24h"
 * @returns {number} 0 if there is none
 */
export function allowed(threshold) {
    return Number(/^\s*(\d+)/.exec(threshold)?.[1] ?? 0);
}

/**
 * In which period a threshold counts.
 * @param {string} threshold
 * @returns {string} "24h"; empty if there is none
 */
export function period(threshold) {
    return /\/\s*(\S+)/.exec(threshold)?.[1] ?? "";
}

/**
 * Which part of its threshold a DIMM has used up in this period.
 * @param {Dimm} dimm
 * @returns {number} 0 to 1, or more if it is over; 0 where there is no threshold
 */
export function share(dimm) {
    const most = allowed(dimm.CorrectedThreshold);
    return most ? dimm.CorrectedInPeriod / most : 0;
}

/**
 * How bad a DIMM is: by its error rate, and at least what the diagnosis says.
 * @param {Dimm} dimm
 * @returns {Level}
 */
export function levelOf(dimm) {
    if (dimm.Advice === "replace")
        return "replace";
    if (dimm.Advice === "channel" || dimm.UncorrectedErrors || share(dimm) >= 1)
        return "over";
    if (share(dimm) >= 0.5)
        return "many";
    if (dimm.CorrectedInPeriod || dimm.Advice === "watch")
        return "some";
    return dimm.CorrectedErrors ? "past" : "quiet";
}

/**
 * A number by which DIMMs are sorted, the worst one has the highest.
 * @param {Dimm} dimm
 */
export function badness(dimm) {
    return LEVELS.indexOf(levelOf(dimm)) * 1e6 + Math.min(dimm.UncorrectedErrors, 9) * 1e5
        + Math.min(dimm.CorrectedInPeriod, 99999);
}

/**
 * DIMMs from bad to good, those without any finding left out.
 * @param {Dimm[]} dimms
 */
export function worst(dimms) {
    return dimms.filter(dimm => LEVELS.indexOf(levelOf(dimm)) >= LEVELS.indexOf("some"))
            .sort((a, b) => badness(b) - badness(a));
}

/**
 * @typedef {{channel: number, dimms: Dimm[]}} Channel
 * @typedef {{socket: number, channels: Channel[]}} Socket
 */

/**
 * The map: sockets, their channels, their DIMMs, all in the order of their numbers. What the
 * hardware does not number comes last.
 * @param {Dimm[]} dimms
 * @returns {Socket[]}
 */
export function mapOf(dimms) {
    return groups(dimms, "Socket").map(([socket, inSocket]) => ({
        socket,
        channels: groups(inSocket, "Channel").map(([channel, inChannel]) => ({
            channel,
            dimms: inChannel.sort((a, b) => byNumber(a.Dimm, b.Dimm)),
        })),
    }));
}

function groups(dimms, name) {
    /** @type {Map<number, Dimm[]>} */
    const found = new Map();
    for (const dimm of dimms)
        found.set(dimm[name], [...found.get(dimm[name]) ?? [], dimm]);
    return [...found].sort(([a], [b]) => byNumber(a, b));
}

function byNumber(a, b) {
    return (a < 0 ? Infinity : a) - (b < 0 ? Infinity : b) || 0;
}

/**
 * Where arrow keys lead on the map: up and down within a channel, left and right to the next one.
 * @param {Socket[]} sockets
 * @param {string} path of the DIMM that has the focus
 * @param {string} key of the keyboard event
 * @returns {string | null} path of the DIMM to go to
 */
export function neighbour(sockets, path, key) {
    const channels = sockets.flatMap(socket => socket.channels.map(one => one.dimms));
    const column = channels.findIndex(dimms => dimms.some(dimm => dimm.path === path));
    if (column < 0)
        return null;
    const row = channels[column].findIndex(dimm => dimm.path === path);
    const next = {
        ArrowUp: channels[column][row - 1],
        ArrowDown: channels[column][row + 1],
        ArrowLeft: channels[column - 1]?.[Math.min(row, channels[column - 1].length - 1)],
        ArrowRight: channels[column + 1]?.[Math.min(row, channels[column + 1].length - 1)],
        Home: channels[0][0],
        End: channels.at(-1)?.at(-1),
    }[key];
    return next?.path ?? null;
}

/**
 * Pages, those first that somebody has to look at: with errors now, then by all their errors.
 * @param {Page[]} pages
 */
export function sortPages(pages) {
    const rank = { online: 0, "offline-failed": 1, offline: -1 };
    return [...pages].sort((a, b) =>
        (rank[b.state] ?? 0) - (rank[a.state] ?? 0) || b.inPeriod - a.inPeriod
        || b.total - a.total || a.address - b.address);
}

/** Trends: how far each goes back, in bars of which length; in seconds. */
export const SPANS = {
    day: { label: "24 hours", seconds: 86400, bar: 3600 },
    week: { label: "7 days", seconds: 7 * 86400, bar: 6 * 3600 },
    month: { label: "30 days", seconds: 30 * 86400, bar: 86400 },
};

const CORRECTED = new Set(["corrected", "info"]);

/**
 * Events counted bar by bar, oldest first. A bar ends where the next begins; the last ends now.
 * @param {Event[]} events
 * @param {keyof typeof SPANS} span
 * @param {number} now
 * @returns {{from: number, to: number, corrected: number, other: number}[]}
 */
export function trend(events, span, now) {
    const { seconds, bar } = SPANS[span];
    const bars = Array.from({ length: seconds / bar }, (_, index) => {
        const from = now - seconds + index * bar;
        return { from, to: from + bar, corrected: 0, other: 0 };
    });
    for (const event of events) {
        // What the clock of the machine wrote a moment ago may be ahead of that of the browser.
        const at = Math.floor((Math.min(event.time, now - 1) - (now - seconds)) / bar);
        if (at >= 0)
            bars[at][CORRECTED.has(event.severity) ? "corrected" : "other"] += 1;
    }
    return bars;
}

/**
 * Events about one object, or all.
 * @param {Event[]} events
 * @param {string} path empty for all
 */
export function eventsOf(events, path) {
    return path ? events.filter(event => event.object === path) : events;
}

/**
 * Put newly read events to those there are; never more than `most`, the oldest go.
 * @param {Event[]} events in the order of their ids
 * @param {Event[]} more
 * @param {number} most
 */
export function joined(events, more, most) {
    const last = events.at(-1)?.id ?? 0;
    return [...events, ...more.filter(event => event.id > last)].slice(-most);
}

/**
 * Find the number of the last event, where one can only ask for those after a number.
 * @param {(after: number) => Promise<boolean>} isAnyAfter
 * @param {number} guess where to begin; any number will do, a near one is quick
 */
export async function lastId(isAnyAfter, guess) {
    let low = 0;
    let step = 64;
    let high = Math.max(guess, 0);
    while (await isAnyAfter(high)) {
        low = high;
        high += step;
        step *= 4;
    }
    // Nothing is after `high`; something is after `low`, or low is 0.
    while (low < high) {
        const middle = Math.floor((low + high) / 2);
        if (await isAnyAfter(middle))
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}
