"""Whether a call comes from its source: by preset, on the raw bytes, in constant time.

Everything in a call is a stranger's: whatever its headers hold, the answer is a Rejected that names the check and never
another exception. The caller hears the same for a wrong secret and for a wrong signature.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zapd.config.hub import SourceSpec
from zapd.events.call import Call, Rejected
from zapd.webhooks import signature as standard

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_WRONG = "the signature does not fit"


@dataclass(frozen=True)
class Preset:
    """How a provider signs, and what it says of itself."""

    check: Callable[[SourceSpec, Call, int], None]
    dedup: str = ""  #: where its own id of a call stands: `header:NAME` or JMESPath; empty: none
    type: str = ""  #: the type of event that its calls make; empty: `<source>.received`


def verify(spec: SourceSpec, call: Call, now: int) -> None:
    """Raises Rejected. `now` is in seconds."""
    PRESETS[spec.verify].check(spec, call, now)


def hmac_text(key: bytes, signed: bytes, *, algorithm: str, encoding: str) -> str:
    """An HMAC as text."""
    digest = hmac.digest(key, signed, algorithm)
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def _any_fits(given: Iterable[str], wanted: Iterable[str]) -> bool:
    """Compares every pair, so that the time tells nothing of which one fitted."""
    wanted = list(wanted)
    fits = [_same(g, w) for g in given for w in wanted]
    return any(fits)


def _needed(call: Call, name: str) -> str:
    value = call.header(name)
    if not value:
        raise Rejected("signature", f"the header {name} is missing")
    return value


def _fresh(text: str, now: int, tolerance: float) -> None:
    if not _SECONDS.fullmatch(text) or abs(now - int(text)) > tolerance:
        raise Rejected("timestamp", f"the time of the signature is not within {tolerance:g} s of now")


def _hub_256(spec: SourceSpec, call: Call, _now: int) -> None:
    """GitHub, Meta: `X-Hub-Signature-256: sha256=<hex>` over the body."""
    given = _needed(call, "X-Hub-Signature-256")
    wanted = [
        "sha256=" + hmac_text(s.encode(), call.raw, algorithm="sha256", encoding="hex") for s in spec.live_secrets
    ]
    if not _any_fits([given], wanted):
        raise Rejected("signature", _WRONG)


def _stripe(spec: SourceSpec, call: Call, now: int) -> None:
    """`Stripe-Signature: t=…,v1=…[,v1=…]` over `t.body`; several v1 while a secret is rolled."""
    pairs = [part.strip().partition("=") for part in _needed(call, "Stripe-Signature").split(",")]
    times = [value for key, _, value in pairs if key == "t"]
    if len(times) != 1:
        raise Rejected("signature", "the header Stripe-Signature has no single t=")
    _fresh(times[0], now, spec.tolerance)
    signed = times[0].encode() + b"." + call.raw
    wanted = [hmac_text(s.encode(), signed, algorithm="sha256", encoding="hex") for s in spec.live_secrets]
    if not _any_fits([value for key, _, value in pairs if key == "v1"], wanted):
        raise Rejected("signature", _WRONG)


def _shopify(spec: SourceSpec, call: Call, _now: int) -> None:
    """`X-Shopify-Hmac-SHA256`: base64 over the body."""
    given = _needed(call, "X-Shopify-Hmac-SHA256")
    wanted = [hmac_text(s.encode(), call.raw, algorithm="sha256", encoding="base64") for s in spec.live_secrets]
    if not _any_fits([given], wanted):
        raise Rejected("signature", _WRONG)


def _standard(spec: SourceSpec, call: Call, now: int) -> None:
    """Standard Webhooks: `v1` with `whsec_…`, `v1a` with the sender's public key `whpk_…`."""
    message_id, timestamp = _needed(call, "webhook-id"), _needed(call, "webhook-timestamp")
    given = _needed(call, "webhook-signature")
    _fresh(timestamp, now, spec.tolerance)
    symmetric = [secret for secret in spec.live_secrets if not secret.startswith("whpk_")]
    if symmetric and standard.verify(
        secrets=symmetric,
        message_id=message_id,
        timestamp=timestamp,
        signature=given,
        body=call.raw,
        now=now,
        tolerance=int(spec.tolerance),
    ):
        return
    signed = f"{message_id}.{timestamp}.".encode("utf-8", "replace") + call.raw
    if not any(_signed_by(key, signed, given) for key in spec.live_secrets if key.startswith("whpk_")):
        raise Rejected("signature", _WRONG)


def _signed_by(public: str, signed: bytes, header: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # loaded for who uses v1a only
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    for entry in header.split(" "):
        kind, _, text = entry.partition(",")
        if kind != "v1a":
            continue
        try:
            key.verify(base64.b64decode(text, validate=True), signed)
            return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False


def _generic(spec: SourceSpec, call: Call, now: int) -> None:
    """HMAC as the source's own settings say."""
    given = _needed(call, spec.header)
    if not given.startswith(spec.prefix):
        raise Rejected("signature", f"the header {spec.header} does not begin with its prefix")
    timestamp = ""
    if spec.timestamp_header:
        timestamp = _needed(call, spec.timestamp_header)
        _fresh(timestamp, now, spec.tolerance)
    before, _, after = (spec.signed or "{body}").replace("{timestamp}", timestamp).partition("{body}")
    signed = before.encode() + call.raw + after.encode()
    wanted = [
        hmac_text(s.encode(), signed, algorithm=spec.algorithm, encoding=spec.encoding) for s in spec.live_secrets
    ]
    given = given.removeprefix(spec.prefix)
    if not _any_fits([given.lower() if spec.encoding == "hex" else given], wanted):
        raise Rejected("signature", _WRONG)


def _api_key(spec: SourceSpec, call: Call, _now: int) -> None:
    if not _any_fits([_digest(_needed(call, spec.proof_header))], map(_digest, spec.live_secrets)):
        raise Rejected("api-key", "the key is wrong")


def _zapi(spec: SourceSpec, call: Call, _now: int) -> None:
    """Z-API signs nothing: a token of ours in the URL, `?token=`, or its header `z-api-token`."""
    given = [text for text in (call.query.get("token", ""), call.header("z-api-token")) if text]
    if not given:
        raise Rejected("token", "the token is missing: it stands in the URL as ?token=")
    if not _any_fits(map(_digest, given), map(_digest, spec.live_secrets)):
        raise Rejected("token", "the token is wrong")


def _basic(spec: SourceSpec, call: Call, _now: int) -> None:
    scheme, _, text = _needed(call, "Authorization").partition(" ")
    try:
        user, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Rejected("basic", "the header Authorization is not Basic") from None
    fits = _any_fits([_digest(password)], map(_digest, spec.live_secrets))
    if scheme.lower() != "basic" or not (_same(user, spec.username) and fits):
        raise Rejected("basic", "user name or password is wrong")


def _digest(text: str) -> str:
    """Of one length for all, so that a comparison does not tell how long the secret is."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


PRESETS = {
    "meta": Preset(_hub_256, type="meta.{body.object}"),
    "zapi": Preset(
        _zapi, dedup="body.messageId && (body.[type, messageId, status, momment] | join('/', [].to_string(@)))"
    ),
    "github": Preset(
        _hub_256, dedup="header:X-GitHub-Delivery", type='github.{headers."x-github-event"}.{body.action}'
    ),
    "stripe": Preset(_stripe, dedup="body.id", type="stripe.{body.type}"),
    "shopify": Preset(_shopify, dedup="header:X-Shopify-Webhook-Id", type='shopify.{headers."x-shopify-topic"}'),
    "standard-webhooks": Preset(_standard, dedup="header:webhook-id", type="{body.type}"),
    "hmac": Preset(_generic),
    "api-key": Preset(_api_key),
    "basic": Preset(_basic),
}
#: Presets whose caller proves who it is, and nothing about the body: equal bodies are not taken for a repeat.
UNSIGNED = frozenset({"api-key", "basic", "zapi"})
