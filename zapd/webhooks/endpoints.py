"""The rules for endpoints: which URL, types, headers and secret a user may give, and how a secret is rotated.

The address is judged here with the same guard as at every send, so that a user hears at once what would never work.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zapd.errors import Conflict, FieldError, InvalidInput
from zapd.ids import Ids
from zapd.model.webhook import BodyFormat, Endpoint, Options, Secret
from zapd.webhooks import options as option_rules
from zapd.webhooks import ping
from zapd.webhooks.guard import Blocked, Guard
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.signature import PRIVATE, check, new_private_key, new_secret, public_key_of
from zapd.webhooks.target import target_of

OVERLAP = 24 * 3600.0  #: seconds that an old secret goes on signing after a rotation
MAX_OVERLAP = 7 * 24 * 3600.0
MAX_SECRETS = 3
MAX_URL, MAX_TYPES, MAX_HEADERS, MAX_HEADER = 2048, 100, 20, 1024

_TYPE = re.compile(r"\*|[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*(\.\*)?")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED = frozenset(
    {
        "host",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "accept-encoding",
        "user-agent",
    }
)
_RESERVED_PREFIXES = ("webhook-", "x-zaphub-", "x-zapd-", "proxy-")
SIGNINGS = ("v1", "v1a")


class Endpoints:
    """Makes and changes endpoints; stores nothing. Every method raises InvalidInput naming the fields."""

    def __init__(
        self,
        *,
        guard: Guard,
        resolver: Resolver,
        ids: Ids,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._guard = guard
        self._resolver = resolver
        self._ids = ids
        self._now_ms = now_ms
        self._random_bytes = random_bytes

    async def made(
        self,
        *,
        tenant: str,
        url: str,
        types: Sequence[str] = ("*",),
        connection_id: str | None = None,
        format: BodyFormat = BodyFormat.STANDARD,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        signing: Sequence[str] = ("v1",),
        options: Options | None = None,
        url_field: str = "url",
    ) -> Endpoint:
        """A new, enabled endpoint. Without a secret it gets a fresh one of each kind of `signing`: show it once."""
        given, options = dict(headers or {}), options or Options()
        problems = [*await self._url_problems(url, url_field, tenant), *_type_problems(types), *_header_problems(given)]
        problems += [*_secret_problems(secret), *option_rules.problems(options), *_signing_problems(signing, secret)]
        if problems:
            raise InvalidInput(*problems)
        return Endpoint(
            tenant=tenant,
            id=self._ids.new("end"),
            url=url,
            types=tuple(types),
            connection_id=connection_id,
            format=format,
            headers=tuple(given.items()),
            secrets=tuple(Secret(value=value) for value in self._fresh(signing, secret)),
            enabled=True,
            disabled_reason=None,
            created_at=self._now_ms(),
            options=options,
        )

    async def changed(
        self,
        endpoint: Endpoint,
        *,
        url: str | None = None,
        types: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        enabled: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Endpoint:
        """The endpoint with new values for those given; `options` by name.

        Enabling clears the reason; what was canceled stays so until it is recovered.
        """
        wanted = replace(endpoint.options, **(options or {}))
        problems = [
            *option_rules.problems(wanted),
            *(await self._url_problems(url, "url", endpoint.tenant) if url is not None else ()),
            *_type_problems(endpoint.types if types is None else types),
            *_header_problems({} if headers is None else headers),
        ]
        if problems:
            raise InvalidInput(*problems)
        on = endpoint.enabled if enabled is None else enabled
        return replace(
            endpoint,
            url=endpoint.url if url is None else url,
            types=endpoint.types if types is None else tuple(types),
            headers=endpoint.headers if headers is None else tuple(headers.items()),
            options=wanted,
            enabled=on,
            disabled_reason=None if on else endpoint.disabled_reason or "by request",
        )

    def rotated(self, endpoint: Endpoint, *, secret: str | None = None, overlap: float = OVERLAP) -> Endpoint:
        """The endpoint with a new secret in front. The one before it goes on signing for `overlap` seconds.

        Without `secret` each kind that the endpoint signs with gets a fresh one.
        """
        problems = _secret_problems(secret)
        if not 0 <= overlap <= MAX_OVERLAP:
            problems.append(FieldError("overlap", f"must be 0 to {MAX_OVERLAP:.0f} seconds"))
        if problems:
            raise InvalidInput(*problems)
        now = self._now_ms()
        until = now + round(overlap * 1000)
        kinds = signing_of(endpoint) if secret is None else ["v1a" if secret.startswith(PRIVATE) else "v1"]
        kept = [s for s in endpoint.secrets if _kind(s) not in kinds]
        for kind in kinds:
            old = [
                replace(s, expires_at=min(s.expires_at or until, until)) for s in endpoint.secrets if _kind(s) == kind
            ]
            live = [s for s in old if s.expires_at is not None and s.expires_at > now]
            new = Secret(value=self._fresh([kind], secret)[0])
            kept += [new, *live[: MAX_SECRETS - 1]]
        return replace(endpoint, secrets=tuple(kept))

    def without_old_secrets(self, endpoint: Endpoint, *, force: bool) -> Endpoint:
        """The endpoint with its newest secrets only. Raises Conflict without evidence that the receiver holds them."""
        if not force and not ping.is_proven(endpoint):
            raise Conflict("no ping has shown that the receiver holds the newest secret: ping it first")
        return ping.without_old(endpoint)

    def _fresh(self, signing: Sequence[str], secret: str | None) -> list[str]:
        if secret is not None:
            return [secret]
        make = {"v1": new_secret, "v1a": new_private_key}
        return [make[kind](self._random_bytes) for kind in signing]

    async def _url_problems(self, url: str, field: str, tenant: str) -> list[FieldError]:
        if len(url) > MAX_URL:
            return [FieldError(field, f"must not be longer than {MAX_URL} characters")]
        try:
            target = target_of(url)
            addresses = await self._resolver.addresses(target.host, tenant=tenant)
        except Blocked as error:
            return [FieldError(field, str(error))]
        except OSError:
            addresses = ()  # it may exist later; until then its attempts fail as `dns`
        # Plain http is for receivers beside us, in networks that the operator opened.
        if not target.tls and not (addresses and self._guard.opened(addresses, tenant=tenant)):
            return [FieldError(field, "must begin with https://")]
        return []


def signing_of(endpoint: Endpoint) -> list[str]:
    """With which kinds of signature it signs."""
    return list(dict.fromkeys(_kind(secret) for secret in endpoint.secrets))


def public_keys_of(endpoint: Endpoint) -> list[str]:
    """The public halves of its ed25519 keys that sign, the newest first."""
    return [public_key_of(s.value) for s in endpoint.secrets if s.value.startswith(PRIVATE)]


def _kind(secret: Secret) -> str:
    return "v1a" if secret.value.startswith(PRIVATE) else "v1"


def _signing_problems(signing: Sequence[str], secret: str | None) -> list[FieldError]:
    if secret is not None and len(signing) > 1:
        return [FieldError("secret", "goes with one kind of signing; leave it out to get one for each")]
    if not signing or len(set(signing)) != len(signing) or not set(signing) <= set(SIGNINGS):
        return [FieldError("signing", f"must be one or both of {', '.join(SIGNINGS)}")]
    return []


def _type_problems(types: Sequence[str]) -> list[FieldError]:
    if not 1 <= len(types) <= MAX_TYPES:
        return [FieldError("types", f"must have 1 to {MAX_TYPES} entries")]
    return [
        FieldError(f"types.{i}", "must be `*`, a name such as `message.sent`, or a family such as `message.*`")
        for i, pattern in enumerate(types)
        if not _TYPE.fullmatch(pattern)
    ]


def _header_problems(headers: Mapping[str, str]) -> list[FieldError]:
    if len(headers) > MAX_HEADERS:
        return [FieldError("headers", f"must have at most {MAX_HEADERS} entries")]
    problems = []
    for name, value in headers.items():
        low = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            problems.append(FieldError("headers", "a name must be an HTTP token of at most 100 characters"))
        elif low in _RESERVED or low.startswith(_RESERVED_PREFIXES):
            problems.append(FieldError(f"headers.{name}", "is set by zapd"))
        elif len(value) > MAX_HEADER or not _HEADER_VALUE.fullmatch(value):
            problems.append(FieldError(f"headers.{name}", f"must be printable ASCII, at most {MAX_HEADER} characters"))
    return problems


def _secret_problems(secret: str | None) -> list[FieldError]:
    if secret is None:
        return []
    try:
        check(secret)
    except ValueError as error:
        return [FieldError("secret", str(error))]
    return []
