"""Z-API: what a connection of it needs, and its transport."""

import secrets
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from zapd.config import Config, sections
from zapd.model.pace import Limits
from zapd.model.session import Connection, OnAmbiguous
from zapd.parts.basis import now_ms
from zapd.sessions.kinds import Kind
from zapd.whatsapp import zapi_body, zapi_errors, zapi_webhook
from zapd.whatsapp.zapi import Fetch, ZapiConfig, ZapiTransport


def kind_of(config: Config) -> Kind:
    """Its own pace is never above that of all sessions."""
    return Kind(
        capabilities=ZapiTransport.capabilities,
        on_ambiguous=OnAmbiguous.HOLD,
        check_config=check,
        parse=lambda connection, raw: zapi_webhook.parse(
            raw, instance_id=ZapiConfig.read(connection.config).instance_id
        ),
        complete=complete,
        address=zapi_body.phone_of,
        failure=zapi_errors.told,
        limits=unofficial(config),
        rate_per_minute=min(config.zapi.session_per_minute, config.limits.session_per_minute),
    )


def unofficial(config: Config) -> Limits:
    """What an account that WhatsApp does not expect to be a machine does not go over."""
    limits = config.limits
    return Limits(
        recipient_per_minute=limits.recipient_per_minute,
        recipient_burst=limits.recipient_burst,
        new_contacts_per_day=limits.new_contacts_per_day,
        new_contacts_first_day=limits.new_contacts_first_day,
        lookups_per_minute=limits.lookups_per_minute,
    )


def check(config: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming every wrong key."""
    ZapiConfig.read(orjson.dumps(dict(config)))


def complete(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the secret of the path that Z-API calls, unless the operator chose one."""
    return config if config.get("webhook_secret") else {**config, "webhook_secret": secrets.token_urlsafe(24)}


def transport(
    connection: Connection, *, config: sections.ZapiConfig, http: aiohttp.ClientSession, fetch: Fetch
) -> ZapiTransport:
    """The transport of one instance."""
    base, secret = config.hooks_url.rstrip("/"), ZapiConfig.read(connection.config).webhook_secret
    return ZapiTransport(
        connection=connection,
        http=http,
        fetch=fetch,
        now_ms=now_ms,
        base_url=config.base_url,
        hook_url=f"{base}/hooks/zapi/{connection.id}/{secret}" if base else None,
    )
