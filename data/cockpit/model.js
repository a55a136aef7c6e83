// SPDX-License-Identifier: GPL-2.0-only
// What the numbers of mcelog amount to: which DIMM is how bad, which pages matter.
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
    const [, count, unit] = PERIOD.exec(threshold) ?? [];
    return count ? count + (unit || "s") : "";
}

/** A time without a unit is in seconds. */
const PERIOD = /\/\s*(\d+)([mhd]?)\s*$/;
const SECONDS = { "": 1, m: 60, h: 3600, d: 86400 };

/**
 * Corrected errors that count against the threshold now. mcelog forgets old ones when the next one
 * comes; the page does not wait for that.
 * @param {Dimm} dimm
 * @param {number} now seconds since 1970
 */
export function recent(dimm, now) {
    const [, count, unit] = PERIOD.exec(dimm.CorrectedThreshold) ?? [];
    const isOver = count && dimm.LastErrorTime && now - dimm.LastErrorTime >= Number(count) * SECONDS[unit];
    return isOver ? 0 : dimm.CorrectedInPeriod;
}

/**
 * DIMMs as they are at a time: what is too long ago counts no more.
 * @param {Dimm[]} dimms
 * @param {number} now
 */
export function asOf(dimms, now) {
    return dimms.map(dimm => ({ ...dimm, CorrectedInPeriod: recent(dimm, now) }));
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
 * Pages, those first that somebody has to look at: with errors now, then by all their errors.
 * @param {Page[]} pages
 */
export function sortPages(pages) {
    const rank = { online: 0, "offline-failed": 1, offline: -1 };
    return [...pages].sort((a, b) =>
        (rank[b.state] ?? 0) - (rank[a.state] ?? 0) || b.inPeriod - a.inPeriod
        || b.total - a.total || a.address - b.address);
}
