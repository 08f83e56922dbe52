"""Look-ups by key: callers that come while a SELECT runs share the next one."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from zapd.errors import Unavailable
from zapd.store.commands import MAX_ROWS, Lookup, Row, Statements
from zapd.store.database import Database
from zapd.store.link import Link, Work

Asked = dict[Lookup, dict[Row, list[asyncio.Future[Sequence[Row]]]]]
Found = dict[Lookup, dict[Row, list[Row]]]


class Reader:
    """Answers look-ups in batches. A Service; look-ups wait until it runs."""

    name = "reader"

    def __init__(self, *, database: Database) -> None:
        self._link: Link = database.link("reader")
        self._sealing = database.sealing
        self._statements = Statements(dialect=database.dialect)
        self._asked: Asked = defaultdict(dict)
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()
        self._stopping = False

    async def one(self, lookup: Lookup, key: Row) -> Row | None:
        """The row of a key, or None. Sees what was committed before the call. Raises Unavailable."""
        rows = await self.many(lookup, key)
        return rows[0] if rows else None

    async def many(self, lookup: Lookup, key: Row) -> Sequence[Row]:
        """All rows of a key, in no order. Raises Unavailable."""
        if self._stopping:
            raise Unavailable("the reader has stopped")
        answer: asyncio.Future[Sequence[Row]] = asyncio.get_running_loop().create_future()
        self._asked[lookup].setdefault(key, []).append(answer)
        self._wake.set()
        rows = await answer
        return rows if self._sealing is None else await self._sealing.opened(lookup.read, rows, lookup)

    async def run(self) -> None:
        """Answer until `stop`."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            await self._answer_all()

    async def stop(self) -> None:
        """Answer what was asked, then refuse."""
        self._stopping = True
        self._wake.set()
        await self._answer_all()
        await self._link.close()

    async def _answer_all(self) -> None:
        async with self._reading:
            while self._asked:
                asked, self._asked = self._asked, defaultdict(dict)
                await self._answer(asked)

    async def _answer(self, asked: Asked) -> None:
        try:
            found = await self._link.run(_read(asked, self._statements))
        except Unavailable as error:
            _settle(asked, error)
        except Exception as error:
            # A key that cannot be encoded spoils the SELECT for everybody: ask again one by one.
            if len(asked) == 1 and len(next(iter(asked.values()))) == 1:
                return _settle(asked, error)
            for lookup, keys in asked.items():
                for key, answers in keys.items():
                    await self._answer({lookup: {key: answers}})
        except BaseException:
            _settle(asked, Unavailable("the reader was killed"))
            raise
        else:
            _settle(asked, found)


def _settle(asked: Asked, found: Found | Exception) -> None:
    for lookup, keys in asked.items():
        for key, answers in keys.items():
            for answer in answers:
                if answer.done():  # the caller was cancelled
                    continue
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(found[lookup].get(key, ()))


def _read(asked: Asked, statements: Statements) -> Work[Found]:
    found: Found = {}
    for lookup, by_key in asked.items():
        keys, width = list(by_key), len(lookup.columns)
        rows: dict[Row, list[Row]] = defaultdict(list)
        for start in range(0, len(keys), MAX_ROWS):
            for row in (yield statements.make(lookup, keys[start : start + MAX_ROWS])):
                rows[row[:width]].append(row[width:])
        found[lookup] = rows
    return found
