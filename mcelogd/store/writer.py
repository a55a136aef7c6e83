# SPDX-License-Identifier: GPL-2.0-only
"""The thread that commits: no disk, slow or hung, delays reading and reporting by more than a moment."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from mcelogd.store.backlog import Backlog
from mcelogd.store.database import NOTHING, DamagedError, GoneError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.store.database import Saved, Store
    from mcelogd.store.rows import Batch, Position

    Reopen = Callable[[str | None], tuple[Store, Saved, str | None]]

RETRY_SECONDS = 60
"""How long a store that failed is left alone."""

HEAP = 1024
MOMENT = 0.1
"""So many events waiting, whoever puts more waits for the disk: so many seconds at most, and not again
before something was committed."""

GLANCE = 0.002
"""Seconds of that between two looks at what else is to be done."""

PRUNE = 1000
"""Records deleted at once where there are too many; some milliseconds."""


class StoreWriter:
    """Commits batches in its own thread; what it cannot commit waits, bounded.

    `failed` is called from that thread when the store begins (with a message)
    or ceases (with None) to fail.

    `saved` is what the store held when the counters went on from there; None
    if that could not be read. `reopen` is open_or_replace(), its argument the
    damage that is known: it opens the store that could not be opened, or was
    damaged, or removed, and the new one gets all counters there are. Should
    such a late store hold counters that nobody knew, then `found` is called
    with them, from the thread, and nothing is committed until adopt().
    """

    def __init__(
        self,
        store: Store | None,
        committed: Position,
        failed: Callable[[str | None], None],
        *,
        saved: Saved | None = NOTHING,
        reopen: Reopen | None = None,
        found: Callable[[Saved], None] | None = None,
    ) -> None:
        self._store = store
        self._failed = failed
        self._reopen = reopen
        self._found = found
        self._wake = threading.Condition()
        self._backlog = Backlog(saved or NOTHING, keeps_position=saved is not None)
        self._is_known = saved is not None
        self._is_adopting = False
        self._is_committing = False
        self._is_slow = False
        self._is_closing = False
        self._failures = 0 if store is not None else 1
        """Since the last commit."""
        self._told: str | None = None if store is not None else ""
        self._lost: StoreError | None = None
        self.committed = committed
        """Where the store is; read by other threads."""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._is_idle = store is None and reopen is None
        if not self._is_idle:
            self._thread.start()

    @property
    def not_kept(self) -> int:
        """Events whose records were not kept because the store did not answer."""
        return self._backlog.not_kept

    def put(self, batch: Batch, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Hand over a batch; returns at once, or a moment later where more comes than can be committed: the
        spool holds it without memory, and thereby the interpreter is the store's for a while.

        `meanwhile` is called every few milliseconds of that.
        """
        if self._is_idle:
            return
        with self._wake:
            self._backlog.put(batch)
            self._wake.notify_all()
        until = time.monotonic() + MOMENT
        while self._is_crowded(until):
            meanwhile()

    def _is_crowded(self, until: float) -> bool:
        """After a glance, whether the store still needs a moment."""
        with self._wake:
            if self._is_slow or self._wake.wait_for(lambda: not self._is_heap(), GLANCE):
                return False
            self._is_slow = time.monotonic() > until
            return not self._is_slow

    def adopt(self, saved: Saved, state: dict[str, str]) -> Saved:
        """Go on with what was found: it and all that was put add up to what is returned, and that is
        what the caller has to go on with, too.

        `state` has those entries of Batch.state that add up themselves: their sums.
        """
        with self._wake:
            merged = self._backlog.merge(saved, state)
            self.committed = saved.position
            self._is_adopting = False
            self._wake.notify_all()
        return merged

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is committed; False if the store fails, or after `timeout`
        seconds."""
        with self._wake:
            self._wake.wait_for(lambda: self._failures or not self._is_behind(), timeout)
            return not self._is_behind()

    def close(self, timeout: float) -> bool:
        """Commit what waits; False if that took longer than `timeout` seconds."""
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
        if self._is_idle:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._store is None:
            self._pause()
        while True:
            is_last = self._is_closing
            try:
                self._step()
            except Exception as error:
                # StoreError, or a mistake of ours: that must not end the thread without a word.
                if not self._fail(error) and is_last:
                    break
            else:
                if is_last and not self._can_commit():
                    break
        if self._store is not None:
            self._store.close()

    def _step(self) -> None:
        """Commit what waits as soon as there is something, into whatever store there is."""
        store = self._store = self._store or self._open()
        with self._wake:
            self._wake.wait_for(lambda: self._is_closing or self._can_commit())
            if not self._can_commit():
                return
            batch = self._backlog.take()
            self._is_committing = True
            self._wake.notify_all()
        try:
            store.commit(batch)
        except Exception:
            with self._wake:
                self._is_committing = False
                self._backlog.put_back(batch)
            raise
        with self._wake:
            self._is_committing = self._is_slow = False
            self.committed = batch.position or self.committed
            self._failures = 0
            self._wake.notify_all()
        if self._told is not None:
            self._told = None
            self._failed(None)
        self._prune(store, len(batch.events))

    def _is_behind(self) -> bool:
        return self._is_committing or self._backlog.has_work()

    def _is_heap(self) -> bool:
        return not self._failures and len(self._backlog.events) > HEAP

    def _can_commit(self) -> bool:
        return self._backlog.has_work() and not self._is_adopting

    def _open(self) -> Store:
        """Open another store for the one that could not be opened, or was lost."""
        assert self._reopen is not None
        store, saved, problem = self._reopen(
            str(self._lost) if isinstance(self._lost, DamagedError) else None
        )
        if problem or self._lost:
            self._tell(problem or str(self._lost))
        self._lost = None
        if self._is_known or not (saved.memory or saved.pages or saved.objects or saved.state):
            with self._wake:
                self._is_known = True
                self._backlog.take_all()
        elif self._found is not None:
            self._is_known = self._is_adopting = True
            self._found(saved)
        else:
            store.close()
            raise StoreError(
                f"{store.path}: has counters that could not be read at the start; restart mcelog to use them"
            )
        return store

    def _fail(self, error: Exception) -> bool:
        """Wait for better times; True, at once, if another store may do now."""
        with self._wake:
            self._failures += 1
            self._wake.notify_all()
        if (
            self._reopen is not None
            and self._store is not None
            and isinstance(error, DamagedError | GoneError)
        ):
            self._store.close()
            self._store = None
            self._lost = error
            if self._failures == 1:
                return True
        self._tell(str(error) if isinstance(error, StoreError) else f"please report this: {error!r}")
        self._pause()
        return False

    def _tell(self, problem: str) -> None:
        """Say it once."""
        if problem != self._told:
            self._told = problem
            self._failed(problem)

    def _pause(self) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._is_closing, RETRY_SECONDS)

    def _prune(self, store: Store, committed: int) -> None:
        """Delete old records; more than there came, so that none pile up, and all while nothing waits."""
        due = max(PRUNE, 2 * committed)
        try:
            while store.prune(PRUNE):
                due -= PRUNE
                if due <= 0 and (self._is_closing or self._backlog.has_work()):
                    break
        except DamagedError:
            raise
        except StoreError:
            # Commits go on, or they say themselves why not.
            pass
