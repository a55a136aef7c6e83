// SPDX-License-Identifier: GPL-2.0-only
// Which DIMM is where: sockets, their channels, their slots. Pure, like model.js.

/** @typedef {import("./model.js").Dimm} Dimm */

/**
 * Many processors report the channel of an error, not the DIMM. Such errors are counted for "any DIMM"
 * of the channel, beside the DIMMs that firmware lists there. Of those that have no errors of their
 * own, a single one is that DIMM, so it is left out; of several, each may be it, and is not to be
 * called healthy: `isSuspect`.
 * @param {Dimm[]} dimms of one channel
 * @returns {(Dimm & {isSuspect?: boolean})[]}
 */
export function toldApart(dimms) {
    const any = dimms.find(dimm => dimm.Dimm < 0);
    const slots = dimms.filter(dimm => dimm.Dimm >= 0);
    const hasErrors = dimm => dimm.CorrectedErrors + dimm.UncorrectedErrors > 0;
    if (!any || (slots.length && !hasErrors(any) && any.Advice === "none"))
        return slots;
    if (slots.length === 1 && !hasErrors(slots[0]))
        return [withPart(any, slots[0])];
    return [any, ...slots.map(dimm => hasErrors(any) && !hasErrors(dimm) ? { ...dimm, isSuspect: true } : dimm)];
}

/** What firmware says of the part that is meant, where only the slot's own object has it. */
function withPart(any, slot) {
    const known = ["Label", "Location", "Manufacturer", "PartNumber", "SerialNumber", "Size"];
    return { ...any, ...Object.fromEntries(known.map(name => [name, any[name] || slot[name]])) };
}

/**
 * @typedef {{channel: number, dimms: (Dimm & {isSuspect?: boolean})[]}} Channel
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
            dimms: toldApart(inChannel.sort((a, b) => a.Dimm - b.Dimm)),
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
