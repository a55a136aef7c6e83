// SPDX-License-Identifier: GPL-2.0-only
// Events over time: counted, folded into lines, found. Pure, like model.js.

/** @typedef {import("./model.js").Event} Event */

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
 * Events for a list, the newest first; what came many times in a row is one line.
 * @param {Event[]} events oldest first
 * @param {Set<number>} unfolded ids of the oldest events of those lines that are to be shown one by one
 * @returns {{event: Event, first: Event, count: number}[]} the newest event of each line, its oldest, how many
 */
export function folded(events, unfolded) {
    /** @type {{event: Event, first: Event, count: number}[]} */
    const lines = [];
    let run = 0;
    for (const event of events) {
        const last = lines.at(-1);
        const isSame = last && ["kind", "severity", "object", "cpu"].every(name => last.event[name] === event[name]);
        run = isSame ? run : event.id;
        if (isSame && !unfolded.has(run))
            lines[lines.length - 1] = { event, first: last.first, count: last.count + 1 };
        else
            lines.push({ event, first: event, count: 1 });
    }
    return lines.reverse();
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
