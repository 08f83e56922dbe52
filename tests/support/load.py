"""A client that goes on sending through a crash, and what must be true of what it sent once all has healed."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver

TOLD = ("message.sent", "message.delivered", "message.read")


class Load:
    """Sends one message after the other until `messages` are accepted. Text `m<n>` is the n-th try."""

    def __init__(self, daemon: Daemon, connection: str, messages: int, *, refuses: Collection[int] = ()) -> None:
        self.daemon = daemon
        self.connection = connection
        self.messages = messages
        self._refuses = refuses  # statuses that are right while something is away
        self.accepted: dict[str, str] = {}  #: text → message id
        self.refused: list[int] = []  #: statuses that were not 202

    async def run(self) -> None:
        """Send; an answer that a crash took away counts as not accepted, and the next text is tried."""
        n = 0
        while len(self.accepted) < self.messages:
            text = f"m{n}"
            n += 1
            body = {"to": "5511999998888", "type": "text", "payload": {"text": text}}
            try:
                status, answer = await self.daemon.call("POST", f"/connections/{self.connection}/send", body)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.02)
                continue
            if status == 202:
                self.accepted[text] = answer["id"]
            elif status in self._refuses:
                await asyncio.sleep(0.1)
            else:
                self.refused.append(status)

    async def reached(self, part: float) -> None:
        """Wait until this part of the messages is accepted."""
        await eventually(lambda: len(self.accepted) >= self.messages * part, within=60, every=0.002)


@dataclass(frozen=True)
class Verdict:
    """What became of the accepted messages. All but `resent` and `redelivered` should be 0."""

    lost: int  #: accepted, never in the network's ledger
    doubled: int  #: in the ledger more than once
    resent: int  #: a `sending` of unknown outcome was repeated, and the event log says so
    disordered: int  #: arrived before one that was accepted earlier
    untold: int  #: webhooks of accepted messages that never came
    redelivered: int  #: webhooks that came again under the same id, which receivers drop
    told_twice: int  #: webhooks that came again under another id: those a receiver cannot drop
    refused: int  #: sends that were answered, and not with 202

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing doubled silently."""
        wrong = (
            self.lost,
            self.disordered,
            self.untold,
            self.told_twice,
            self.refused,
            max(0, self.doubled - self.resent),
        )
        return not any(wrong)


async def arrived(daemon: Daemon, connection: str) -> list[str]:
    """The texts in the ledger, in the order they came."""
    return [entry["payload"]["text"] for entry in await daemon.ledger(connection)]


async def heal(load: Load, receiver: Receiver | None, within: float = 90.0) -> None:
    """Wait until every accepted message has arrived and every webhook of it was delivered. Gives up silently."""

    async def whole() -> bool:
        if set(load.accepted) - set(await arrived(load.daemon, load.connection)):
            return False
        return receiver is None or not untold(load, receiver)

    try:
        await eventually(whole, within=within, every=0.1)
    except AssertionError:
        print(load.daemon.log_text()[-4000:])


def untold(load: Load, receiver: Receiver) -> set[tuple[str, str]]:
    """(type, message id) of webhooks that did not come."""
    came = {(body["type"], body["data"].get("message_id")) for body in receiver.events()}
    return {(kind, message) for kind in TOLD for message in load.accepted.values()} - came


async def judge(load: Load, receiver: Receiver | None) -> Verdict:
    """Count, after `heal`."""
    texts = await arrived(load.daemon, load.connection)
    first = list(dict.fromkeys(texts))
    numbers = [int(text.removeprefix("m")) for text in first]
    ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    received = receiver.received if receiver else []
    for request in received:
        body = request.json
        if body["type"] in TOLD:
            ids[body["type"], body["data"]["message_id"]].add(body["id"])
    return Verdict(
        lost=len(set(load.accepted) - set(texts)),
        doubled=sum(count - 1 for count in Counter(texts).values()),
        resent=len(await load.daemon.pages("/events?type=message.resending")),
        disordered=sum(later < earlier for earlier, later in pairwise(numbers)),
        untold=len(untold(load, receiver)) if receiver else 0,
        redelivered=len(received) - len({request.headers["webhook-id"] for request in received}),
        told_twice=sum(len(of_one) - 1 for of_one in ids.values()),
        refused=len(load.refused),
    )


def excess(ledger: Sequence[dict[str, Any]], *, per_minute: float, burst: int, slack: float = 0.25) -> float:
    """By how many messages the pace was exceeded at worst, in any stretch of the ledger; at most 0 when it held.

    `slack` seconds are for what lies between the start of a send and its line in the ledger.
    """
    times = [datetime.fromisoformat(entry["at"]).timestamp() for entry in ledger]
    return max(
        (
            last - first + 1 - burst - (times[last] - times[first] + slack) * per_minute / 60
            for first in range(len(times))
            for last in range(first, len(times))
        ),
        default=0.0,
    )
