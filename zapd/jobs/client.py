"""Connections to Redis, set up so that nothing is ever sent twice behind our back."""

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_BUFFERED = 1 << 16  # bytes in the kernel's way up to which a command is written without waiting
IDLE = 15  #: seconds without an answer after which a connection is asked whether it lives, or closed if it is free
LOOK_EVERY = 5.0  #: seconds between two looks for connections that nobody needs any more


class _Quick(AbstractConnection):
    """Packs with hiredis and writes at once.

    redis-py has asyncio connections pack in Python, argument by argument, and makes a task for each command, to limit
    the time of a write that hardly ever waits.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """The bytes of a command, in one piece. A first argument such as `CONFIG SET` is two."""
        name, *rest = args
        words = name.split() if isinstance(name, str) and " " in name else (name,)
        return [hiredis.pack_command((*words, *rest))]

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health and asyncio.get_running_loop().time() > self.next_health_check:
            await self.check_health()  # type: ignore[no-untyped-call]
        writer = self._writer
        if writer is None or writer.transport.is_closing():
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the server closed the connection")
        writer.writelines(_pieces(command))  # should the connection be gone: the answer's reader finds out
        if writer.transport.get_write_buffer_size() > _BUFFERED:
            await self._drain(writer)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        """redis-py uses `asyncio.wait_for`, which before Python 3.12 swallows a cancellation: the task lives on."""
        try:
            async with asyncio.timeout(self.socket_timeout):
                await writer.drain()
        except BaseException as error:
            await self.disconnect(nowait=True)  # part of the command may be under way, and its answer has no reader
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("the server does not read") from None
            if isinstance(error, OSError):
                raise RedisConnectionError(f"the connection broke while writing: {error}") from error
            raise


def _pieces(command: bytes | str | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(command, str):
        command = command.encode()
    return [command] if isinstance(command, bytes) else command


class _Tcp(_Quick, Connection):
    pass


class _Tls(_Quick, SSLConnection):
    pass


class _Unix(_Quick, UnixDomainSocketConnection):
    pass


_QUICK: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


class Connections(BlockingConnectionPool):
    """A pool that callers wait for, and that a canceled caller costs nothing.

    redis-py's own takes a lock to give a connection back: a task that is canceled there keeps the connection for
    ever, and one that is canceled while it waits may swallow the wake-up of the next. Here the way back awaits nothing.
    """

    def __init__(self, max_connections: int = 50, timeout: float | None = 20, **kwargs: Any) -> None:
        super().__init__(max_connections=max_connections, timeout=timeout, **kwargs)
        self.connection_class = _QUICK[self.connection_class]
        self._slots = asyncio.Semaphore(max_connections)
        self._look_at = 0.0

    async def execute(self, *command: str | bytes | int | float) -> Any:
        """The server's answer to a command, as it comes: the way of a client without what it does besides."""
        connection = await self.get_connection()
        try:
            await connection.send_command(*command)
            return await connection.read_response()
        finally:
            self._give_back(connection)

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        """A connection that is ready. Raises ConnectionError when none became free in time."""
        if self._slots.locked():
            try:
                async with asyncio.timeout(self.timeout):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise RedisConnectionError("all connections are busy") from error
        else:
            await self._slots.acquire()  # at once
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
            await self._close_idle()
        except BaseException:
            self._give_back(connection)
            raise
        return connection

    async def _close_idle(self) -> None:
        """A burst leaves no connection open: one that nobody has needed for a while opens again when it is."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        for connection in tuple(self._available_connections):
            idle = connection.is_connected and now > connection.next_health_check  # set anew by each answer
            if idle and connection in self._available_connections:  # nobody took it meanwhile
                await connection.disconnect(nowait=True)

    async def release(self, connection: AbstractConnection) -> None:
        """It is free again."""
        self._give_back(connection)

    def _give_back(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        self._slots.release()


def connect(url: str, *, name: str, connections: int = 16, timeout: float = 3.0) -> Redis:
    """A client. `name` shows in CLIENT LIST; `timeout` (seconds) is for connecting and for each answer.

    Retries are off: redis-py would send a timed-out command again, and one XADD would give two entries. Callers
    repeat what is idempotent themselves. A caller waits when all connections are busy.
    """
    pool = Connections.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=IDLE,
        client_name=name,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return Redis.from_pool(pool)  # closing the client closes the pool
