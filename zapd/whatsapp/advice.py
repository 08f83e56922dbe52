"""What a person can do about a connection that does not come back by itself. The reason decides before the state."""

from collections.abc import Mapping

from zapd.model.session import SessionState

S = SessionState

#: The reasons of a pairing that nobody finished.
QR_TIMEOUT, PASSKEY_TIMEOUT = "qr_timeout", "passkey_timeout"

_BY_REASON: Mapping[str, str] = {
    QR_TIMEOUT: "Nobody scanned a code in time. Pair it again when the phone is at hand.",
    PASSKEY_TIMEOUT: (
        "Nobody confirmed the passkey in time. Pair it again with a code to type; if the phone asks once more, remove "
        "the passkey there (Settings, Account, Passkeys) and try again."
    ),
    "keys_missing": "The keys of this account are not on this disk. Log it out and pair it again.",
    "corrupt_credentials": "Its login cannot be read and was kept aside. Pair it again.",
    "worker_crashes": "This account crashed its process again and again. Log it out and pair it again.",
    "invalid_config": "Its settings cannot work. Correct them and start it again.",
    "auth_failed": "The provider refuses the access token. Set a new one, then resume; the queue is kept.",
    "permission_denied": "The token lacks a permission. Grant it at the provider, then resume; the queue is kept.",
    "payment": "The provider wants a payment to be settled. Settle it, then resume; the queue is kept.",
    "not_registered": "The number is not registered at Meta. Register it there, then resume; the queue is kept.",
    "restricted": "The provider restricts this account. Look into its console there, then resume.",
    "440_replaced": "Another program uses this login. Stop that one, then resume.",
    "403_forbidden": "WhatsApp has locked this account for now. Look on the phone before you resume.",
    "402_temporary_ban": "WhatsApp has banned this number for some time. Wait until it ends, then start it again.",
}

_BY_STATE: Mapping[SessionState, str] = {
    S.PASSKEY_REQUIRED: (
        "WhatsApp asks for a passkey. Confirm it on the phone that scanned the code; zapd cannot do that for you. "
        "If the phone asks nothing, pair with a code to type instead."
    ),
    S.LOGGED_OUT: "The account is unlinked. Pair it again: its messages wait.",
    S.BANNED: "WhatsApp has banned this number. Appeal on the phone; starting it again before that makes it worse.",
    S.CLIENT_OUTDATED: "WhatsApp takes this client no more. Upgrade zapd with its extra web, then start it again.",
}

#: All that there is, for the dashboard's translations.
SENTENCES = frozenset({*_BY_REASON.values(), *_BY_STATE.values()})


def advice(state: SessionState, reason: str | None) -> str | None:
    """What to do; None: nothing, or what a person did who paused it."""
    told = _BY_REASON.get(reason or "") if state in (S.PAUSED, S.FAILED, S.BANNED) else None
    return told or _BY_STATE.get(state)
