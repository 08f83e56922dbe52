"""Which templates the provider takes now: one that it paused or disabled is refused before it is asked again.

It says so in the answer to a send, in the status of one that it took, and in webhooks about the account. A pause that
was told by a send ends by itself, because the webhook that says so may not be subscribed to; then Meta is asked again.
"""

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from zapd.announce import Announcer, iso
from zapd.errors import FieldError, InvalidInput, NotFound
from zapd.messaging.accounts import Commit
from zapd.model.message import Message
from zapd.model.session import Connection
from zapd.model.webhook import Severity
from zapd.store.templates import Template, TemplateStore
from zapd.whatsapp.transport import TemplateChange, TemplateRefused

TEMPLATE = "template"  #: the type of message
REFUSED = "template_refused"  #: the code of a message whose template was paused or disabled while it waited
CLOSED = frozenset(
    {"paused", "disabled", "rejected", "deleted", "archived"}
)  #: states that the provider sends nothing in


class Known(Protocol):
    """What is asked of the sessions."""

    def account(self, connection: Connection) -> str:
        """Whose templates a connection sends."""


class Templates:
    """What is known of the templates of all accounts."""

    def __init__(
        self,
        *,
        accounts: Known,
        store: TemplateStore,
        announcer: Announcer,
        commit: Commit,
        now_ms: Callable[[], int],
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms

    async def check(self, connection: Connection, type_: str, payload: Any) -> None:
        """Raises InvalidInput that names the template, when the provider sends it no more."""
        rule = await self.closed(connection, payload) if type_ == TEMPLATE else None
        if rule is not None:
            raise InvalidInput(FieldError("payload.name", rule))

    async def closed(self, connection: Connection, payload: Any) -> str | None:
        """Why the template of this message is not sent now; None: it is."""
        account, (name, language) = self._accounts.account(connection), _named(payload)
        known = await self._store.get(connection.tenant, account, name, language)
        if known is None or not self.refused_now(known):
            return None
        reason = f": {known.reason}" if known.reason else ""
        told = f"is the template {name} ({language}), which is {known.state} since {iso(known.since)}{reason}"
        return f"{told}; it is tried again from {iso(known.until)} on" if known.until else told

    def refused_now(self, template: Template) -> bool:
        """Whether a message with it is refused."""
        return template.state in CLOSED and (template.until is None or self._now_ms() < template.until)

    async def heard(self, connection: Connection, told: TemplateChange) -> None:
        """The provider says how a template is from now on. What is older than what is known changes nothing."""
        known = await self._store.get(connection.tenant, self._accounts.account(connection), told.name, told.language)
        now = self._now_ms()
        at = min(told.at or now, now)
        # Meta's times are of whole seconds: one is compared with another of Meta's, not with when a send was refused.
        if known is not None and known.since > at and not _by_a_send(known):
            return
        until = None if told.pause is None else now + round(told.pause * 1000)
        await self._keep(connection, told.name, told.language, told.state, told.reason, at, until)

    async def refused(self, connection: Connection, message: Message, error: TemplateRefused) -> None:
        """The provider took a message's template for paused or disabled."""
        now, (name, language) = self._now_ms(), _named(orjson.loads(message.payload))
        until = None if error.pause is None else now + round(error.pause * 1000)
        await self._keep(connection, name, language, error.template_state, error.code, now, until)

    async def listed(self, connection: Connection, *, after: tuple[str, str] | None, limit: int) -> list[Template]:
        """A page of those of which anything was heard, by name and language."""
        account = self._accounts.account(connection)
        return await self._store.listed(connection.tenant, account, after=after, limit=limit)

    async def forget(self, connection: Connection, name: str, language: str) -> None:
        """A person says that it may be tried again. Raises NotFound."""
        known = await self._store.get(connection.tenant, self._accounts.account(connection), name, language)
        if known is None or await self._commit(self._store.gone(known)) is None:
            raise NotFound(f"nothing is known of the template {name} ({language})")

    async def _keep(
        self,
        connection: Connection,
        name: str,
        language: str,
        state: str,
        reason: str | None,
        at: int,
        until: int | None,
    ) -> None:
        data = {"name": name, "language": language, "state": state, "reason": reason}
        event = self._announcer.announce(
            "template.state",
            tenant=connection.tenant,
            at=at,
            data=data | {"until": None if until is None else iso(until)},
            connection_id=connection.id,
            severity=Severity.WARNING if state in CLOSED else Severity.INFO,
        )
        template = Template(
            tenant=connection.tenant,
            account=self._accounts.account(connection),
            name=name,
            language=language,
            state=state,
            reason=reason,
            since=at,
            until=until,
        )
        await self._commit(self._store.told(template), *event.changes, jobs=event.jobs)


def _by_a_send(template: Template) -> bool:
    """Whether an error code said so, not a webhook."""
    return template.reason is not None and template.reason.isdigit()


def _named(payload: Any) -> tuple[str, str]:
    """The name and language of a template that was checked; a language may come as Meta's object."""
    language = payload["language"]
    return payload["name"], language["code"] if isinstance(language, dict) else language
