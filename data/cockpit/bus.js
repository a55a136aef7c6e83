// SPDX-License-Identifier: GPL-2.0-only
// mcelog as the page sees it: is it there, what does it say, and doing something about it.
// Nothing here starts mcelog unless start() is called: one may have stopped it for a reason.

import { joined, lastId } from "./history.js";

const NAME = "org.mcelog";
const ROOT = "/org/mcelog";
const MANAGER = "org.mcelog.Manager";
const PROPERTIES = "org.freedesktop.DBus.Properties";
const DBUS = { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

const AT_ONCE = 1000;
const MOST_EVENTS = 5000;
const MOST_PAGES = 5000;
const RETRY = 3000;
/** The page is read again so long after a signal; milliseconds. */
const SETTLE = 400;
/** And not more often than that reading takes one part in so many of the time. */
const LEISURE = 4;

/**
 * @typedef {"connecting" | "running" | "stopped" | "absent" | "unreachable"} Phase
 *
 * @typedef {Object} State
 * @property {Phase} phase
 * @property {string} problem what is wrong, in the words of whoever found out
 * @property {Record<string, any> | null} machine properties of the Manager; anybody may read them
 * @property {any} refusal why the rest could not be read; null if it was
 * @property {import("./model.js").Dimm[]} dimms
 * @property {any[]} sockets
 * @property {import("./model.js").Event[]} events the last ones, in the order of their ids
 * @property {boolean} hasOlder whether there are events before those
 * @property {import("./model.js").Page[]} pages
 * @property {number} pageTotal
 * @property {any[]} replaced
 * @property {number} readAt seconds since 1970
 */

/** @returns {State} */
function nothing() {
    return {
        phase: "connecting", problem: "", machine: null, refusal: null, dimms: [], sockets: [], events: [],
        hasOlder: false, pages: [], pageTotal: 0, replaced: [], readAt: 0,
    };
}

export class Mcelog {
    /** @param {(state: State) => void} changed called with every new state */
    constructor(changed) {
        this.state = nothing();
        this._changed = changed;
        this._bus = null;
        this._client = null;
        this._timer = 0;
        this._reading = false;
        this._again = false;
        this._took = 0;
        /** The events of this mcelog; those of another may have other numbers. */
        this._events = nothing();
    }

    /** Connect anew, as who the user is now. */
    connect() {
        this._close();
        const bus = cockpit.dbus(DBUS.name, { bus: "system" });
        this._bus = bus;
        bus.addEventListener("close", (_, options) => this._lost(bus, options));
        bus.subscribe({ path: DBUS.path, interface: DBUS.interface, member: "NameOwnerChanged", arg0: NAME },
            (_path, _interface, _member, [, , owner]) => this._owned(owner !== ""));
        this._ask("NameHasOwner", [NAME])
                .then(([isOwned]) => this._owned(isOwned))
                .catch(() => { /* the channel closes, and that says why */ });
    }

    /** Have the bus start mcelog, as `systemctl start` would. */
    async start() {
        try {
            await this._ask("StartServiceByName", [NAME, 0], "su");
        } catch (error) {
            this._set({ problem: error.message || error.problem });
        }
    }

    /**
     * Call a method of the Manager that changes something; the user may be asked for a password.
     * @param {string} member
     * @param {string} type
     * @param {...any} args
     * @returns {Promise<any[]>}
     */
    async act(member, type, ...args) {
        const answer = await this._call(ROOT, MANAGER, member, args, type, "i");
        this.readSoon();
        return answer;
    }

    /**
     * The fields of one event's journal entry.
     * @param {number} id
     * @returns {Promise<Record<string, string[]>>}
     */
    async event(id) {
        return (await this._call(ROOT, MANAGER, "GetEvent", [id], "t"))[0];
    }

    /** Read again, but not at once: more may have changed. */
    readSoon() {
        if (!this._timer && this._client)
            this._timer = window.setTimeout(() => { this._timer = 0; this._read() },
                Math.max(SETTLE, LEISURE * this._took));
    }

    _owned(isOwned) {
        this._forget();
        if (!isOwned) {
            this._ask("ListActivatableNames", [])
                    .then(([names]) => this._set({ phase: names.includes(NAME) ? "stopped" : "absent" }))
                    .catch(() => { /* as above */ });
            return;
        }
        const client = cockpit.dbus(NAME, { bus: "system", superuser: "try" });
        this._client = client;
        client.addEventListener("close", (_, options) => {
            if (client === this._client && options.problem)
                this._lost(client, options);
        });
        client.subscribe({ path_namespace: ROOT }, () => this.readSoon());
        this._read();
    }

    async _read() {
        const client = this._client;
        this._again = this._reading;
        if (this._reading || !client)
            return;
        this._reading = true;
        const begun = performance.now();
        try {
            const news = await this._readAll();
            if (client === this._client) {
                this._events = { ...this._events, events: news.events, hasOlder: news.hasOlder ?? false };
                this._set({ ...news, phase: "running", problem: "", readAt: Date.now() / 1000 });
            }
        } catch (error) {
            if (client === this._client)
                this._set({ problem: error.message || error.problem });
        } finally {
            this._reading = false;
            this._took = performance.now() - begun;
            if (this._again || client !== this._client)
                this.readSoon();
        }
    }

    async _readAll() {
        const [machine] = await this._call(ROOT, PROPERTIES, "GetAll", [MANAGER], "s");
        const known = { machine: plain(machine) };
        try {
            const [objects] = await this._call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", [], "");
            const [pages, events, [replaced]] = await Promise.all([
                this._readPages(), this._readEvents(known.machine.RecordsRead),
                this._call(ROOT, MANAGER, "ListReplaced", [], ""),
            ]);
            return { ...known, ...pages, ...events, ...ofKinds(objects), replaced, refusal: null };
        } catch (error) {
            const { dimms, sockets, events, pages, replaced } = nothing();
            return { ...known, dimms, sockets, events, pages, replaced, refusal: error };
        }
    }

    async _readPages() {
        const pages = [];
        let pageTotal = 0;
        do {
            const [rows, total] = await this._call(ROOT, MANAGER, "ListPages", [pages.length, AT_ONCE], "uu");
            pageTotal = total;
            pages.push(...rows.map(([address, all, inPeriod, state, reason, since]) =>
                ({ address, total: all, inPeriod, state, reason, since })));
            if (!rows.length)
                break;
        } while (pages.length < Math.min(pageTotal, MOST_PAGES));
        return { pages, pageTotal };
    }

    async _readEvents(guess) {
        let { events, hasOlder } = this._events;
        let after = events.at(-1)?.id;
        if (after === undefined) {
            const last = await lastId(async id => (await this._eventsAfter(id, 1)).length > 0, guess);
            after = Math.max(last - MOST_EVENTS, 0);
            hasOlder = after > 0;
        }
        for (;;) {
            const more = await this._eventsAfter(after, AT_ONCE);
            hasOlder ||= events.length + more.length > MOST_EVENTS;
            events = joined(events, more, MOST_EVENTS);
            if (more.length < AT_ONCE)
                return { events, hasOlder };
            after = more.at(-1).id;
        }
    }

    /** @returns {Promise<any[]>} */
    async _eventsAfter(after, limit) {
        const [rows] = await this._call(ROOT, MANAGER, "GetEvents", [after, limit], "tu");
        return rows.map(([id, time, kind, severity, cpu, bank, object, summary]) =>
            ({ id, time, kind, severity, cpu, bank, object, summary }));
    }

    _ask(member, args, type) {
        return this._bus.call(DBUS.path, DBUS.interface, member, args, type && { type });
    }

    /** Reading must not make a password dialog appear, so only who asks for "i" gets one. */
    _call(path, interfaceName, member, args, type, flags = "") {
        if (!this._client)
            return Promise.reject(new Error("mcelog is not running"));
        return this._client.call(path, interfaceName, member, args, { type, flags });
    }

    _lost(channel, options) {
        if (channel !== this._bus && channel !== this._client)
            return;
        this._close();
        this._set({ phase: "unreachable", problem: options.message || options.problem || "" });
        window.setTimeout(() => this._bus || this.connect(), RETRY);
    }

    /** mcelog is another one now, or gone. What was read stays to be seen. */
    _forget() {
        const client = this._client;
        this._client = null;
        window.clearTimeout(this._timer);
        this._timer = 0;
        this._events = nothing();
        client?.close();
    }

    _close() {
        this._forget();
        const bus = this._bus;
        this._bus = null;
        bus?.close();
    }

    _set(news) {
        this.state = { ...this.state, ...news };
        this._changed(this.state);
    }
}

/** @param {Record<string, {v: any}>} properties */
function plain(properties) {
    return Object.fromEntries(Object.entries(properties).map(([name, { v }]) => [name, v]));
}

function ofKinds(objects) {
    const found = { dimms: [], sockets: [] };
    for (const [path, interfaces] of Object.entries(objects)) {
        if (interfaces["org.mcelog.Dimm"])
            found.dimms.push({ path, ...plain(interfaces["org.mcelog.Dimm"]) });
        if (interfaces["org.mcelog.Socket"])
            found.sockets.push({ path, ...plain(interfaces["org.mcelog.Socket"]) });
    }
    return found;
}
