# SPDX-License-Identifier: GPL-2.0-only
"""The thread that commits: no disk, slow or hung, delays reading and reporting."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from mcelogd.store.database import StoreError
from mcelogd.store.rows import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.store.database import Store
    from mcelogd.store.rows import MemoryRow, PageRow, Position, StoredEvent

BACKLOG = 100_000
"""Events that may wait for a disk that does not answer, before their records are not kept."""

RETRY_SECONDS = 60
"""How long a store that failed is left alone."""


class StoreWriter:
    """Commits batches in its own thread; what it cannot commit waits, bounded.

    `failed` is called from that thread when the store begins (with a message)
    or ceases (with None) to fail.
    """

    def __init__(
        self, store: Store | None, committed: Position, failed: Callable[[str | None], None]
    ) -> None:
        self._store = store
        self._failed = failed
        self._wake = threading.Condition()
        self._events: deque[StoredEvent] = deque()
        self._memory: dict[tuple[int, int, int], MemoryRow] = {}
        self._pages: dict[int, PageRow] = {}
        self._dropped: set[int] = set()
        self._state: dict[str, str] = {}
        self._position: Position | None = None
        self._closing = False
        self.committed = committed
        """Where the store is; read by other threads."""
        self.not_kept = 0
        """Events whose records were not kept because the store did not answer."""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        if store is not None:
            self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand over a batch; returns at once."""
        if self._store is None:
            return
        with self._wake:
            self._events.extend(batch.events)
            while len(self._events) > BACKLOG:
                self._events.popleft()
                self.not_kept += 1
            for row in batch.memory:
                self._memory[row.socket, row.channel, row.dimm] = row
            self._pages.update((row.frame, row) for row in batch.pages)
            for frame in batch.dropped_frames:
                self._pages.pop(frame, None)
            self._dropped.update(batch.dropped_frames)
            self._dropped.difference_update(row.frame for row in batch.pages)
            self._state.update(batch.state)
            self._position = batch.position or self._position
            self._wake.notify()

    def close(self, timeout: float) -> bool:
        """Commit what waits; False if that took longer than `timeout` seconds."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._store is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is committed; False after `timeout` seconds."""
        with self._wake:
            target = self._position
            return self._wake.wait_for(lambda: target is None or self.committed >= target, timeout)

    def _run(self) -> None:
        assert self._store is not None
        failing = False
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._has_work())
                closing = self._closing
                batch = self._take()
            try:
                self._store.commit(batch)
            except StoreError as error:
                if not failing:
                    self._failed(str(error))
                failing = True
                self._put_back(batch)
                if closing:
                    break
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, RETRY_SECONDS)
                continue
            if failing:
                self._failed(None)
            failing = False
            with self._wake:
                self.committed = batch.position or self.committed
                self._wake.notify_all()
                if closing and not self._has_work():
                    break
        self._store.close()

    def _has_work(self) -> bool:
        return bool(
            self._events or self._memory or self._pages or self._dropped or self._state or self._position
        )

    def _take(self) -> Batch:
        batch = Batch(
            list(self._events),
            list(self._memory.values()),
            list(self._pages.values()),
            list(self._dropped),
            dict(self._state),
            self._position,
        )
        for waiting in (self._events, self._memory, self._pages, self._dropped, self._state):
            waiting.clear()
        self._position = None
        return batch

    def _put_back(self, batch: Batch) -> None:
        """What is newer by now stays as it is."""
        with self._wake:
            self._events.extendleft(reversed(batch.events))
            for memory in batch.memory:
                self._memory.setdefault((memory.socket, memory.channel, memory.dimm), memory)
            for page in batch.pages:
                if page.frame not in self._dropped:
                    self._pages.setdefault(page.frame, page)
            self._dropped.update(frame for frame in batch.dropped_frames if frame not in self._pages)
            for name, value in batch.state.items():
                self._state.setdefault(name, value)
            self._position = self._position or batch.position
