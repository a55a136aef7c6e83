// SPDX-License-Identifier: GPL-2.0-only
// Administrative access, by Cockpit's own means: its bridge has a second one of root's beside it,
// which "superuser: try" makes use of. The bridge's object cockpit.Superuser turns it on.

import { ask } from "./dialogs.js";
import { h } from "./dom.js";
import { errorText } from "./texts.js";

export class Superuser {
    /** @param {() => void} changed called when access was turned on or off, also from Cockpit's own menu */
    constructor(changed) {
        this._proxy = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
        this._current = null;
        this._isGivenUp = false;
        this._proxy.addEventListener("changed", () => {
            const { Current: current } = this._proxy;
            if (current === "init" || current === this._current)
                return;
            const isFirst = this._current === null;
            this._current = current;
            if (!isFirst)
                changed();
        });
        this._proxy.addEventListener("Prompt", (_, message, prompt, initial, echo, error) =>
            this._answer(message, prompt, initial, echo, error));
    }

    /** Whether there is something to be turned on. */
    get isPossible() {
        return this._proxy.valid && this._current === "none" && this._proxy.Bridges?.length > 0;
    }

    /** Turn it on; the user is asked for a password where one is needed, and told if it failed. */
    async turnOn() {
        this._isGivenUp = false;
        try {
            // sudo, where there is more than one way: Cockpit has it first.
            await this._proxy.Start(this._proxy.Bridges[0]);
        } catch (error) {
            if (!this._isGivenUp)
                await ask({
                    title: "Administrative access was not turned on",
                    body: [h("p", {}, "The password was wrong, or this user may not become administrator.")],
                    error: errorText(error),
                });
        }
    }

    async _answer(message, prompt, initial, echo, error) {
        const input = /** @type {HTMLInputElement} */ (h("input", {
            id: "answer", type: echo ? "text" : "password", value: initial, autocomplete: "current-password",
        }));
        const isAnswered = await ask({
            title: "Turn on administrative access",
            body: [message && h("p", {}, message), h("label", { for: "answer" }, prompt), input],
            error,
            confirm: "Authenticate",
        });
        if (isAnswered) {
            this._proxy.Answer(input.value);
        } else {
            this._isGivenUp = true;
            this._proxy.Stop();
        }
    }
}
