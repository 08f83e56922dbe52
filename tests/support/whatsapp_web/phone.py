"""What the phone does to link a device, in WhatsApp's own cryptography: by a code that it scans, or one typed in."""

import base64
import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pywhats.proto import ADVDeviceIdentity, ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC
from pywhats.signal.experimental import IdentityKeyPair
from pywhats.signal.experimental.keys import xeddsa_sign

ROUNDS = 2 << 16  #: of the key that comes from a typed code


def identity(*, companion: bytes, secret: bytes) -> bytes:
    """The account's signature on a device's key, under the secret that phone and device share."""
    account = IdentityKeyPair.generate()
    details = ADVDeviceIdentity(raw_id=1, timestamp=int(time.time()), key_index=1).SerializeToString()
    signed = ADVSignedDeviceIdentity(
        details=details,
        account_signature_key=account.public,
        account_signature=xeddsa_sign(account.private, b"\x06\x00" + details + companion),
    ).SerializeToString()
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    proof: bytes = ADVSignedDeviceIdentityHMAC(details=signed, hmac=mac).SerializeToString()
    return proof


@dataclass(frozen=True)
class Scanned:
    """What a code to scan says."""

    ref: str
    companion: bytes
    secret: bytes

    @classmethod
    def read(cls, code: str) -> "Scanned":
        ref, _noise, companion, secret, *_ = code.rsplit("#", maxsplit=1)[-1].split(",")
        return cls(ref, base64.b64decode(companion), base64.b64decode(secret))


@dataclass
class Typing:
    """The phone's half of a pairing by a code that was typed in."""

    code: str
    ephemeral: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    identity: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    def wrapped(self) -> bytes:
        """Our ephemeral key, readable for who knows the code."""
        salt, nonce = os.urandom(32), os.urandom(16)
        return salt + nonce + self._cipher(salt, nonce, self.ephemeral.public_key().public_bytes_raw())

    def finish(self, *, companion_wrapped: bytes, companion: bytes, bundle: bytes) -> bytes:
        """The secret that both sides share then. Raises InvalidTag when the code was another one."""
        salt, nonce, sealed = companion_wrapped[:32], companion_wrapped[32:48], companion_wrapped[48:]
        shared = self._shared(self.ephemeral, self._cipher(salt, nonce, sealed))
        key = _derived(shared, bundle[:32], b"link_code_pairing_key_bundle_encryption_key")
        opened = AESGCM(key).decrypt(bundle[32:44], bundle[44:], None)
        assert opened[:64] == companion + self.identity.public_key().public_bytes_raw()
        return _derived(shared + self._shared(self.identity, companion) + opened[64:], None, b"adv_secret")

    def _cipher(self, salt: bytes, nonce: bytes, content: bytes) -> bytes:
        key = hashlib.pbkdf2_hmac("sha256", self.code.replace("-", "").encode(), salt, ROUNDS)
        step = Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor()
        return step.update(content) + step.finalize()

    @staticmethod
    def _shared(ours: X25519PrivateKey, theirs: bytes) -> bytes:
        return ours.exchange(X25519PublicKey.from_public_bytes(theirs))


def _derived(secret: bytes, salt: bytes | None, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=purpose).derive(secret)
