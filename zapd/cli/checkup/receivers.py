"""The receivers: each enabled endpoint and each target of the file can be reached, the way that its POSTs go."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.config import Config
from zapd.config.hub import TargetSpec
from zapd.store.database import HEAD, Database
from zapd.store.endpoints import destinations
from zapd.webhooks.connection import converse, reach
from zapd.webhooks.guard import Blocked, Guard
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.target import target_of

AT_ONCE = 16
MOST = 200  #: receivers that are tried


class _Receiver(NamedTuple):
    name: str
    tenant: str
    url: str


async def examined(config: Config) -> list[Finding]:
    """A finding for each that cannot be reached, or one for all."""
    known = [*await _endpoints(config), *_targets(config)]
    if not known:
        return [note("receivers", "there are none")]
    guard = Guard(
        allow_networks=config.webhooks.allow_networks,
        tenant_networks=config.webhooks.tenant_networks,
        allow_loopback=config.http.loopback_only,
    )
    resolver, few = Resolver(guard=guard), asyncio.Semaphore(AT_ONCE)
    tls = await asyncio.to_thread(ssl.create_default_context)

    async def tried(receiver: _Receiver) -> Finding | None:
        async with few:
            return await _tried(receiver, resolver, tls)

    try:
        found = [finding for finding in await asyncio.gather(*map(tried, known[:MOST])) if finding is not None]
    finally:
        resolver.close()
    found = found or [ok("receivers", f"{min(len(known), MOST)} of {len(known)} tried; all can be reached")]
    return [*found, *_twins(known)]


def _twins(known: Sequence[_Receiver]) -> list[Finding]:
    """Endpoints of one tenant with one URL."""
    names: dict[tuple[str, str], list[str]] = {}
    for receiver in known:
        if receiver.tenant:  # else it is a target
            names.setdefault((receiver.tenant, receiver.url), []).append(receiver.name)
    do = "If it is not meant: delete one of them. A receiver that drops doubles by webhook-id takes each event once."
    return [
        note(f"receiver {first}", f"{', '.join(others)} has the same URL: what both want comes twice", do)
        for first, *others in names.values()
        if others
    ]


async def _tried(receiver: _Receiver, resolver: Resolver, tls: ssl.SSLContext) -> Finding | None:
    """Look the name up, judge its addresses, connect; nothing is sent."""
    check = f"receiver {receiver.name}"
    try:
        target = target_of(receiver.url)
        addresses = await resolver.addresses(target.host, tenant=receiver.tenant)
        connection = await converse(
            await reach(addresses, target.port), tls=tls if target.tls else None, name=target.host
        )
        connection.abort()
    except Blocked as error:
        do = "If it is meant: name its network in [webhooks] allow_networks or tenant_networks."
        return wrong(check, str(error), do)
    except ssl.SSLCertVerificationError as error:
        return wrong(check, f"its certificate is refused: {error.verify_message}", "Tell who runs it.")
    except OSError as error:
        why = str(error) or "no answer in time"
        return wrong(check, f"it cannot be reached: {why}", "Tell who runs it; its deliveries wait meanwhile.")
    return None


async def _endpoints(config: Config) -> list[_Receiver]:
    url = config.database_url
    if url.startswith("sqlite") and not Path(url.partition("///")[2]).exists():
        return []
    database = Database(url=url)
    try:
        if await database.version() != HEAD:
            return []
        return [_Receiver(name, tenant, where) for tenant, name, where in await destinations(database)]
    except Exception:
        return []  # the database's own check has said it
    finally:
        await database.close()


def _targets(config: Config) -> list[_Receiver]:
    defined = [(name, one.spec) for (kind, name), one in config.definitions.items() if kind == "target"]
    return [_Receiver(name, "", str(spec.base_url)) for name, spec in defined if isinstance(spec, TargetSpec)]
