"""An account of zapd's own transport, on the stock neonize wheel, and WhatsApp on the other side."""

import asyncio
import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from tests.support import eventually, make_ids
from tests.support.whatsapp import MemoryCredentials, Upside, a_connection, a_message
from tests.support.whatsapp_web.media import MediaHost, media_host
from tests.support.whatsapp_web.server import Arrived, WhatsApp
from zapd.model.message import Message
from zapd.model.session import SessionState, TransportName
from zapd.parts.basis import now_ms
from zapd.whatsapp.transport import Inbound, Notice, Receipt
from zapd.whatsapp.web.files import AccountFiles
from zapd.whatsapp.web.metrics import WorkerMetrics
from zapd.whatsapp.web.pool import WorkerPool
from zapd.whatsapp.web.process import COMMAND
from zapd.whatsapp.web.stay import Paces
from zapd.whatsapp.web.transport import WebTransport

USER, OTHER, CONTACT = "5511999990000", "5511999991111", "5511987654321"
WITHIN = 30.0  #: seconds; only guards, on a loaded machine
_CHILD = Path(__file__).with_name("child.py")


def wrapper(server: WhatsApp) -> list[str]:
    """What is put in front of a worker's command, so that it finds this server where WhatsApp is."""
    return [sys.executable, str(_CHILD), server.url, server.root.hex()]


class Phone:
    """One connection of zapd, and what it told upwards."""

    def __init__(self, world: "World", name: str, user: str, **options: Any) -> None:
        self.world = world
        self.name = name
        self.user = user
        self.upside = Upside()
        phone = options.pop("phone", None)
        self.connection = a_connection(
            name, transport=TransportName.WEB, config={"phone": phone} if phone is not None else None
        )
        self.credentials = MemoryCredentials()
        self.files = AccountFiles(root=world.directory, key=name, seal=lambda plain, _: plain, random_bytes=os.urandom)
        send_within = options.pop("send_within", 20.0)
        self.transport = WebTransport(
            connection=self.connection,
            pool=world.pool,
            files=self.files,
            credentials=self.credentials,
            ids=make_ids(),
            now_ms=now_ms,
            paces=Paces(**({"settle": 0.05} | options)),
            send_within=send_within,
        )

    async def start(self) -> None:
        await self.transport.start(on_state=self.upside.on_state, on_raw=self.upside.on_raw)

    async def connected(self, times: int = 1) -> "Phone":
        await self.state(SessionState.CONNECTED, times)
        return self

    async def state(self, state: SessionState, times: int = 1) -> str | None:
        """Wait for a state; its reason."""
        await eventually(lambda: self.upside.states.count(state) >= times, within=WITHIN)
        return [change for change in self.upside.changes if change.state is state][-1].reason

    async def linked(self, templates: "Templates") -> "Phone":
        """Start with keys of an earlier pairing, and be connected."""
        templates.give(self)
        await self.start()
        return await self.connected()

    async def paired(self) -> "Phone":
        """Start, scan the code, and be connected."""
        await self.start()
        before = self.upside.states.count(SessionState.CONNECTED)
        [code, *_] = await eventually(lambda: self.upside.codes, within=WITHIN)
        await self.world.server.scan(code.text, self.user)
        return await self.connected(before + 1)

    def message(self, id_: str = "msg_1", **fields: Any) -> Message:
        return a_message(id_, connection_id=self.name, **{"peer": CONTACT, "sending_at": now_ms(), **fields})

    def updates(self) -> list[object]:
        return [update for raw in self.upside.raws for update in self.transport.parse(raw)]

    def receipts(self) -> list[Receipt]:
        return [update for update in self.updates() if isinstance(update, Receipt)]

    def inbound(self) -> list[Inbound]:
        return [update for update in self.updates() if isinstance(update, Inbound)]

    def notices(self) -> list[Notice]:
        return [update for update in self.updates() if isinstance(update, Notice)]

    @property
    def worker(self) -> Any:
        lease = self.transport._line.lease
        assert lease
        return lease.worker


class Templates:
    """Accounts that were paired once: a test that is not about pairing starts with a copy of their keys."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._published: dict[str, Any] = {}

    async def make(self, *users: str) -> None:
        async with world(self._directory) as here:
            phones = [here.phone(user, user) for user in users]
            await asyncio.gather(*(phone.paired() for phone in phones))
            self._published = dict(here.server.keys)

    def give(self, phone: Phone) -> None:
        shutil.copytree(self._directory / phone.user, phone.world.directory / phone.files.name, dirs_exist_ok=True)
        phone.credentials.secret = b"{}"
        phone.world.server.keys[phone.user] = self._published[phone.user]


_made: list[Templates] = []


async def templates() -> Templates:
    """Two accounts, paired once in this process: in a loop of its own, because tests have one each."""
    if not _made:
        folder = tempfile.TemporaryDirectory(prefix="zapd-web-")  # until the process ends
        made = Templates(Path(folder.name))
        atexit.register(folder.cleanup)
        await asyncio.to_thread(asyncio.run, made.make(USER, OTHER))
        _made.append(made)
    return _made[0]


class World:
    """WhatsApp, and the workers of one daemon."""

    def __init__(self, directory: Path, server: WhatsApp, media: MediaHost, pool: WorkerPool) -> None:
        self.directory = directory
        self.server = server
        self.media = media
        self.pool = pool
        self.phones: list[Phone] = []

    def phone(self, name: str = "con_1", user: str = USER, **options: Any) -> Phone:
        phone = Phone(self, name, user, **options)
        self.phones.append(phone)
        return phone

    async def arrived(self, count: int = 1) -> list[Arrived]:
        await eventually(lambda: len(self.server.arrived) >= count, within=WITHIN)
        return self.server.arrived


@asynccontextmanager
async def world(directory: Path, **options: Any) -> AsyncIterator[World]:
    async with WhatsApp() as server, media_host(directory.with_name("media")) as media:
        server.media_host = media.host
        pool = WorkerPool(
            directory=directory,
            metrics=WorkerMetrics(registry=CollectorRegistry()),
            command=[*wrapper(server), *COMMAND],
            **{"look_every": 0.1} | options,
        )
        running = asyncio.create_task(pool.run(), name="pool")
        here = World(directory, server, media, pool)
        yield here
        await asyncio.gather(*(phone.transport.stop() for phone in here.phones))
        await pool.stop()
        await running
        assert server.mistakes == []


def text_of(arrived: Arrived) -> str:
    return str(arrived.content.conversation or arrived.content.extended_text_message.text)


def data_of(inbound: Inbound) -> Any:
    return orjson.loads(inbound.payload)
