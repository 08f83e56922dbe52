"""Tells one account of the simulated network what became of its messages: one timer, many updates in a body."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from zapd.store.ledger import LedgerEntry
from zapd.whatsapp.sandbox_contacts import Cast
from zapd.whatsapp.sandbox_ledger import Ledger
from zapd.whatsapp.sandbox_wire import RECEIPTS, SENT, body, update
from zapd.whatsapp.transport import OnRaw

MAX_ENTRIES = 64  #: messages whose updates share a body
MAX_LEFT = 1000  #: entries of an earlier life that are in memory at once


class Order(NamedTuple):
    """How one message's updates are told."""

    times: int = 1  #: more than once: doubles
    backwards: bool = False


class _Due(NamedTuple):
    at: float  # of the loop's clock
    number: int  # keeps equal times in order
    entry: LedgerEntry
    step: int
    order: Order


class _Told(NamedTuple):
    entry: LedgerEntry
    steps: Sequence[int]
    order: Order = Order()


class Receipts:
    """The updates that are due, of one account. `latency` (seconds) lies before each."""

    def __init__(
        self,
        *,
        tenant: str,
        connection_id: str,
        ledger: Ledger,
        now_ms: Callable[[], int],
        latency: float,
        cast: Cast,
    ) -> None:
        self._tenant = tenant
        self._connection_id = connection_id
        self._ledger = ledger
        self._now_ms = now_ms
        self.latency = latency
        self.cast = cast
        self._due: list[_Due] = []
        self._numbers = count()
        self._sooner = asyncio.Event()

    @property
    def _last(self) -> int:
        return RECEIPTS + 1 if self.cast.speaks else RECEIPTS

    def add(self, entry: LedgerEntry, order: Order | None = None) -> None:
        """Tell of this message from now on, `latency` apart."""
        self._push(asyncio.get_running_loop().time() + self.latency, entry, 1, order or Order())

    async def tell_all(self, entry: LedgerEntry, on_raw: OnRaw) -> None:
        """Tell everything of this message now."""
        await self._tell([_Told(entry, range(1, self._last + 1))], on_raw)

    async def run(self, on_raw: OnRaw) -> None:
        """Tell what falls due. Never returns."""
        while True:
            await self._until_due()
            await self._tell(self._take(), on_raw)

    async def catch_up(self, on_raw: OnRaw) -> None:
        """Tell what an earlier life left untold."""
        self._due.clear()  # all of it is in the ledger
        while left := await self._ledger.unfinished(self._tenant, self._connection_id, self._last, MAX_LEFT):
            told = [_Told(entry, range(entry.stage + 1, self._last + 1)) for entry in left]
            for start in range(0, len(told), MAX_ENTRIES):
                await self._tell(told[start : start + MAX_ENTRIES], on_raw)

    async def _tell(self, told: Sequence[_Told], on_raw: OnRaw) -> None:
        now = self._now_ms()
        updates = []
        for entry, steps, order in told:
            ways = steps[::-1] if order.backwards else steps
            told_now = [update(entry, step, now, self.cast) for step in ways] * order.times
            updates += [item for item in told_now if item is not None]
        if updates:
            await on_raw(body(updates))
        # After, not before: a network killed in between tells all of it again, and under the same ids.
        if done := [(entry, steps[-1]) for entry, steps, _ in told if steps[-1] == self._last]:
            await self._ledger.staged(done)

    def _take(self) -> list[_Told]:
        """What is due, and each message's next update put back with its time."""
        now, last = asyncio.get_running_loop().time(), self._last
        taken: list[_Told] = []
        while self._due and self._due[0].at <= now and len(taken) < MAX_ENTRIES:
            at, _, entry, first, order = heapq.heappop(self._due)
            step = first
            while step <= last and (at <= now or order.backwards):
                # That it was sent, the answer to the send has said: the receipt of it comes with the next one.
                step, at = step + 1, at + (self.latency if step > SENT else 0.0)
                if step > RECEIPTS:
                    said = self.cast.answer(entry)
                    at += said.after if said is not None else 0.0
            taken.append(_Told(entry, range(first, step), order))
            if step <= last:
                self._push(at, entry, step, order)
        return taken

    def _push(self, at: float, entry: LedgerEntry, step: int, order: Order) -> None:
        due = _Due(at, next(self._numbers), entry, step, order)
        heapq.heappush(self._due, due)
        if self._due[0] is due:
            self._sooner.set()

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._due or self._due[0].at > loop.time():
            self._sooner.clear()
            timer = loop.call_at(self._due[0].at, self._sooner.set) if self._due else None
            try:
                await self._sooner.wait()
            finally:
                if timer is not None:
                    timer.cancel()
