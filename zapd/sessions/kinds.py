"""What each transport can do and needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zapd.errors import FieldError, InvalidInput
from zapd.model.pace import NO_LIMITS, Limits
from zapd.model.session import Connection, OnAmbiguous
from zapd.whatsapp.transport import Peek, SendError, Update


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one transport can do and needs."""

    capabilities: frozenset[str]
    on_ambiguous: OnAmbiguous  #: what becomes of a send whose answer never came, where a connection does not say
    check_config: Callable[[Mapping[str, Any]], None]  #: raises InvalidInput naming `config.<key>`
    #: The keys that may be given, where `check_config` lets others pass: what an older release stored is no trouble.
    settings: frozenset[str] | None = None
    parse: Callable[[Connection, bytes], Sequence[Update]]
    complete: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda config: config  #: adds what zapd makes itself
    rate_per_minute: int | None = None  #: where none is asked for
    #: What `parse` would find, in less time; None: `parse` is asked.
    peek: Callable[[Connection, bytes], Peek] | None = None
    #: Seconds after a contact's message in which one may write freely; None: always.
    window: Callable[[Connection], float | None] = lambda _: None
    #: The business account whose templates it sends; empty: those of no other connection.
    account: Callable[[Connection], str] = lambda _: ""
    limits: Limits = NO_LIMITS  #: where a connection has none of its own
    #: How it spells a recipient; raises Permanent for one that it cannot reach.
    address: Callable[[str], object] = lambda peer: peer
    #: What a receipt that says `failed` would have been as the answer to the send, by its code and words.
    failure: Callable[[str, str], SendError | None] = lambda _code, _said: None

    def check_keys(self, config: Mapping[str, Any]) -> None:
        """Refuse a key that the transport does not know: a misspelt one would change nothing. Raises InvalidInput."""
        unknown = [] if self.settings is None else sorted(config.keys() - self.settings)
        if unknown:
            rule = f"is no setting of this transport; there are {', '.join(sorted(self.settings or ()))}"
            raise InvalidInput(*[FieldError(f"config.{key}", rule) for key in unknown])
