"""WhatsApp's servers and every contact behind them, on one loopback port.

Who logs in is linked to a number by `scan` or `enter_code`; contacts have a Signal identity each, so that what arrives
here was encrypted for them and could be read. `hush`, `refuse` and `drop` are its faults.
"""

import asyncio
import base64
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pywhats.binary import Node, decode, decoder, encode
from pywhats.events import JID
from pywhats.proto import ClientPayload, Message
from pywhats.signal.experimental import PreKeyBundle
from pywhats.signal.experimental.keys import xeddsa_sign
from pywhats.socket.crypto import generate_keypair
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.whatsapp_web.parts import fakeserver
from tests.support.whatsapp_web.phone import Scanned, Typing, identity

SERVER = JID(user="", server="s.whatsapp.net")
LAST_WORD = 235  #: of the dictionary of single bytes
CODES = 6  #: that a device may show, one after another


@dataclass(frozen=True)
class Arrived:
    """A message that a contact could read."""

    id: str
    to: str
    content: Message
    plain: bytes
    stanza: Node


@dataclass
class Line:
    """One connection of a device."""

    send: Callable[[Node], Any]
    close: Callable[[], Any]
    user: str | None = None
    device: int = 0
    refs: list[str] = field(default_factory=list)
    companion_wrapped: bytes = b""
    number: str = ""  #: that a code was asked for
    typing: Typing | None = None


_read_bytes = decoder._read_byte_payload


def _read_content(reader: Any, tag: int) -> bytes:
    """pywhats reads words of the dictionary in attributes only; whatsmeow also writes them as content."""
    if 1 <= tag <= LAST_WORD or decoder.DICTIONARY_0 <= tag <= decoder.DICTIONARY_3:
        return str(decoder._read_string_or_bytes(reader, tag)).encode()
    content: bytes = _read_bytes(reader, tag)
    return content


decoder._read_byte_payload = _read_content


class WhatsApp:
    """The server. `async with WhatsApp() as server`."""

    def __init__(self) -> None:
        self.root_private, self.root = generate_keypair()
        self._static_private, self._static = generate_keypair()
        self._peers: dict[str, Any] = {}
        self.keys: dict[str, Node] = {}  #: what each account published
        self.lines: list[Line] = []
        self.arrived: list[Arrived] = []
        self.stanzas: list[Node] = []  # everything that came and is no message
        self.troubles: deque[str] = deque()  # of the next messages: an error code, or "hush"
        self.files: dict[str, bytes] = {}  # encrypted, by their path
        self.mistakes: list[str] = []
        self.media_host = "127.0.0.1:1"
        self.answers_with: tuple[str, ...] = ()  # what every contact's phone says of a message
        self.nobody: set[str] = set()  # numbers that are not on WhatsApp
        self.greeting: Callable[[Line], Node] | None = None  # instead of `success`

    async def __aenter__(self) -> "WhatsApp":
        self._server = await serve(self._connected, "127.0.0.1", 0, max_size=None, close_timeout=1)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/chat"

    # --- what a test can do ---

    def online(self, user: str) -> Line | None:
        """The newest connection of an account."""
        return next((line for line in reversed(self.lines) if line.user == user), None)

    async def scan(self, code: str, user: str) -> None:
        """The phone of `user` scans what a device shows."""
        scanned = Scanned.read(code)
        line = next(line for line in self.lines if scanned.ref in line.refs)
        await self._link(line, user, identity(companion=scanned.companion, secret=scanned.secret))

    async def enter_code(self, code: str, user: str) -> None:
        """Somebody types a device's code on the phone of `user`."""
        line = next(line for line in self.lines if line.number == user)
        typing = Typing(code)
        line.typing = typing
        about = {"stage": "primary_hello"}
        parts = [
            Node(tag="link_code_pairing_ref", content=b"ref"),
            Node(tag="link_code_pairing_wrapped_primary_ephemeral_pub", content=typing.wrapped()),
            Node(tag="primary_identity_pub", content=typing.identity.public_key().public_bytes_raw()),
        ]
        await line.send(
            _notice("link_code_companion_reg", [Node(tag="link_code_companion_reg", attrs=about, content=parts)])
        )

    async def write(
        self, user: str, contact: str, message: Message, *, id: str, name: str = "Ana", group: str | None = None
    ) -> None:
        """A contact writes to an account."""
        published = self.keys[user]
        signed = published.get_child("skey")
        bundle = PreKeyBundle(
            identity_key=published.get_child("identity").content_bytes(),
            signed_pre_key_id=int.from_bytes(signed.get_child("id").content_bytes(), "big"),
            signed_pre_key_public=signed.get_child("value").content_bytes(),
            signed_pre_key_signature=signed.get_child("signature").content_bytes(),
            one_time_pre_key_id=None,
            one_time_pre_key_public=None,
        )
        peer = self._peer(contact)
        sealed = peer.encrypt_proto_to(client_identity_public=bundle.identity_key, client_bundle=bundle, proto=message)
        # From here on the account answers in the session that the contact began.
        peer._responder_ratchet, peer._responder_peer_identity = peer._ratchet, bundle.identity_key
        await self._deliver(user, contact, sealed, id=id, name=name, group=group)

    async def garble(self, user: str, contact: str, *, id: str) -> None:
        """A contact writes what nobody can read."""
        await self._deliver(user, contact, secrets.token_bytes(64), id=id, name="Ana")

    async def _deliver(
        self, user: str, contact: str, sealed: bytes, *, id: str, name: str, group: str | None = None
    ) -> None:
        lid, phone = (JID(user=contact, server=server) for server in ("lid", "s.whatsapp.net"))
        about = {"id": id, "from": lid, "sender_pn": phone, "type": "text", "t": _now(), "notify": name}
        if group:
            about |= {"from": JID(user=group, server="g.us"), "participant": lid, "participant_pn": phone}
            about |= {"addressing_mode": "lid"}
        content = [Node(tag="enc", attrs={"v": "2", "type": "pkmsg"}, content=sealed)]
        await self.tell(user, Node(tag="message", attrs=about, content=content))

    async def receipt(self, user: str, arrived: Arrived, type_: str | None = None) -> None:
        """A contact's phone says what became of a message: delivered, or `read` or `played`."""
        contact = arrived.to.partition("@")[0]
        about = {"id": arrived.id, "from": JID(user=contact, server="lid"), "t": _now()}
        await self.tell(user, Node(tag="receipt", attrs=about | ({"type": type_} if type_ else {})))

    async def tell(self, user: str, node: Node) -> None:
        """Anything else."""
        line = self.online(user)
        assert line
        await line.send(node)

    async def acknowledge(self, user: str, arrived: Arrived) -> None:
        """Answer a message late."""
        await self.tell(user, _ack(arrived.stanza))

    async def crash(self, user: str) -> None:
        """Send what makes whatsmeow's decoder panic: an id whose name is an id."""
        await self.tell(user, Node(tag="presence", attrs={"from": JID(user="1@c.us", server="lid")}))

    async def drop(self, user: str) -> None:
        """The connection breaks."""
        line = self.online(user)
        assert line
        await line.close()

    # --- connections ---

    async def _connected(self, socket: ServerConnection) -> None:
        parts = fakeserver()
        handshake = parts.noise.ServerHandshake(
            parts.server._WSFrameChannel(socket), server_static_private=self._static_private
        )
        with contextlib.suppress(ConnectionClosed):
            noise, told = await handshake.perform(self._certificates())
            payload = ClientPayload()
            payload.ParseFromString(told)
            line = Line(send=lambda node: noise.send(encode(node)), close=socket.close)
            self.lines.append(line)
            try:
                await self._greet(line, payload)
                while True:
                    await self._heard(line, decode(await noise.recv()))
            except ConnectionClosed:
                self.lines.remove(line)
                raise
            except Exception as error:  # a mistake of this server: a test that fails for it must say so
                self.mistakes.append(repr(error))
                self.lines.remove(line)
                await socket.close()

    async def _greet(self, line: Line, payload: Any) -> None:
        if payload.HasField("device_pairing_data"):
            line.refs = [base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=") for _ in range(CODES)]
            offers = [Node(tag="ref", content=ref.encode()) for ref in line.refs]
            await line.send(_ask("md", [Node(tag="pair-device", content=offers)], id="pair"))
            return
        line.user, line.device = str(payload.username), payload.device
        if self.greeting is not None:
            await line.send(self.greeting(line))
            return
        lid = JID(user=line.user, server="lid", device=line.device)
        await line.send(Node(tag="success", attrs={"t": _now(), "lid": lid}))
        await line.send(Node(tag="ib", attrs={"from": SERVER}, content=[Node(tag="offline", attrs={"count": "0"})]))

    async def _link(self, line: Line, user: str, proof: bytes) -> None:
        phone, lid = (JID(user=user, server=server, device=1) for server in ("s.whatsapp.net", "lid"))
        parts = [
            Node(tag="device", attrs={"jid": phone, "lid": lid}),
            Node(tag="platform", attrs={"name": "android"}),
            Node(tag="device-identity", content=proof),
        ]
        await line.send(_ask("md", [Node(tag="pair-success", content=parts)], id=f"linked-{user}"))
        await self._answered(f"linked-{user}")
        await line.send(Node(tag="stream:error", attrs={"code": "515"}))
        await line.close()

    async def _answered(self, id_: str) -> None:
        while not any(node.tag == "iq" and node.get_str("id") == id_ for node in self.stanzas):
            await asyncio.sleep(0.01)
        self.stanzas = [node for node in self.stanzas if node.get_str("id") != id_]

    def _certificates(self) -> bytes:
        private, public = generate_keypair()
        leaf, intermediate = _details(2, 1, self._static), _details(1, 0, public)
        return _bytes(1, _signed(leaf, private)) + _bytes(2, _signed(intermediate, self.root_private))

    # --- what a device says ---

    async def _heard(self, line: Line, node: Node) -> None:
        if node.tag == "message":
            await self._take(line, node)
            return
        self.stanzas.append(node)
        if node.tag == "iq" and node.get_str("type") in ("get", "set"):
            answer = self._answer(line, node)
            about = {"id": node.get_str("id"), "type": "result", "from": SERVER}
            await line.send(Node(tag="iq", attrs=about, content=answer or None))

    def _answer(self, line: Line, node: Node) -> list[Node]:
        match node.get_str("xmlns"):
            case "encrypt" if node.get_child("count") is not None:
                return [Node(tag="count", attrs={"value": "50" if line.user in self.keys else "0"})]
            case "encrypt" if node.get_child("key") is not None:
                asked = node.get_child("key").get_children("user")
                return [Node(tag="list", content=[self._bundle(user.get_attr("jid")) for user in asked])]
            case "encrypt":
                if line.user and node.get_child("skey") is not None:
                    self.keys[line.user] = node
            case "usync":
                return [self._known(node.get_child("usync"))]
            case "w:m":
                host = [Node(tag="host", attrs={"hostname": self.media_host})]
                return [
                    Node(
                        tag="media_conn",
                        attrs={"auth": "a", "ttl": "300", "auth_ttl": "300", "max_buckets": "12"},
                        content=host,
                    )
                ]
            case "w:g2":
                return [_group(node.get_attr("to"), str(line.user))]
            case "md":
                return self._pairing(line, node)
        return []

    def _pairing(self, line: Line, node: Node) -> list[Node]:
        asked = node.get_child("link_code_companion_reg")
        if asked is None:
            return []

        def read(name: str) -> bytes:
            content: bytes = asked.get_child(name).content_bytes()
            return content

        if asked.get_str("stage") == "companion_hello":
            line.number = asked.get_attr("jid").user
            line.companion_wrapped = read("link_code_pairing_wrapped_companion_ephemeral_pub")
            ref = [Node(tag="link_code_pairing_ref", content=b"ref")]
            return [Node(tag="link_code_companion_reg", attrs={"stage": "companion_hello"}, content=ref)]
        companion = read("companion_identity_public")
        assert line.typing
        secret = line.typing.finish(
            companion_wrapped=line.companion_wrapped,
            companion=companion,
            bundle=read("link_code_pairing_wrapped_key_bundle"),
        )
        proof = identity(companion=companion, secret=secret)
        self._linking = asyncio.create_task(self._link(line, line.number, proof))
        return []

    async def _take(self, line: Line, node: Node) -> None:
        trouble = self.troubles.popleft() if self.troubles else None
        refused = trouble is not None and trouble != "hush"
        if not refused:
            self._read(node)
        if trouble != "hush":
            await line.send(_ack(node, error=trouble if refused else None))
        for status in self.answers_with if not refused else ():
            await self.receipt(str(line.user), self.arrived[-1], None if status == "delivered" else status)

    def _read(self, node: Node) -> None:
        """Every contact reads its copy; the one for the account's own phone is left."""
        to = node.get_attr("to")
        copies = node.get_child("participants")
        for copy in copies.get_children("to") if copies is not None else []:
            sealed, jid = copy.get_child("enc"), copy.get_attr("jid")
            peer, first = self._peer(jid.user), sealed.get_str("type") == "pkmsg"
            open_ = peer.decrypt_pkmsg if first else peer.decrypt_followup
            plain = open_(sealed.content_bytes(), client_identity_public=b"")
            content = Message()
            content.ParseFromString(plain)
            if not content.HasField("device_sent_message"):
                self.arrived.append(Arrived(node.get_str("id"), f"{to.user}@{to.server}", content, plain, node))

    # --- people ---

    def _peer(self, user: str) -> Any:
        if user not in self._peers:
            self._peers[user] = fakeserver().server.SignalPeer(jid=JID(user=user, server="lid"))
        return self._peers[user]

    def _bundle(self, jid: Any) -> Node:
        node = self._peer(jid.user).prekey_bundle_node("x").get_child("list").get_children("user")[0]
        node.attrs["jid"] = jid
        return node

    def _known(self, asked: Node) -> Node:
        people = []
        for person in asked.get_child("list").get_children("user"):
            jid, contact = person.get_attr("jid"), person.get_child("contact")
            asked_for = contact.content_bytes() if contact is not None else jid.user.encode()
            number = asked_for.decode().strip("+").removesuffix("@c.us")
            there = number not in self.nobody
            about = [Node(tag="contact", attrs={"type": "in" if there else "out"}, content=asked_for)]
            about.append(Node(tag="lid", attrs={"val": JID(user=number, server="lid")}))
            devices = [Node(tag="device-list", content=[Node(tag="device", attrs={"id": "0"})] if there else None)]
            about.append(Node(tag="devices", content=devices))
            people.append(
                Node(tag="user", attrs={"jid": jid or JID(user=number, server="s.whatsapp.net")}, content=about)
            )
        return Node(
            tag="usync",
            attrs={"sid": asked.get_str("sid"), "mode": "query", "last": "true", "index": "0"},
            content=[Node(tag="list", content=people)],
        )


def _group(group: Any, user: str) -> Node:
    """A group of the account and one contact."""
    people = [JID(user=who, server="s.whatsapp.net") for who in (user, "5511987654321")]
    members = [
        Node(tag="participant", attrs={"jid": who, "lid": JID(user=who.user, server="lid"), "type": "admin"})
        for who in people
    ]
    about = {"id": group.user, "creator": people[0], "creation": _now(), "s_t": _now(), "s_o": people[0]}
    return Node(tag="group", attrs=about | {"subject": "Team"}, content=members)


def _ask(space: str, content: Sequence[Node], *, id: str) -> Node:
    return Node(tag="iq", attrs={"id": id, "type": "set", "xmlns": space, "from": SERVER}, content=list(content))


def _notice(type_: str, content: Sequence[Node]) -> Node:
    about = {"id": secrets.token_hex(4), "type": type_, "from": SERVER, "t": _now()}
    return Node(tag="notification", attrs=about, content=list(content))


def _ack(message: Node, *, error: str | None = None) -> Node:
    about = {"id": message.get_str("id"), "class": "message", "from": message.get_attr("to"), "t": _now()}
    return Node(tag="ack", attrs=about | ({"error": error} if error else {}))


def _now() -> str:
    return str(int(time.time()))


# Certificates are protobuf that pywhats has no classes for.


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _bytes(field_: int, content: bytes) -> bytes:
    return _varint(field_ << 3 | 2) + _varint(len(content)) + content


def _number(field_: int, value: int) -> bytes:
    return _varint(field_ << 3) + _varint(value)


def _details(serial: int, issuer: int, key: bytes) -> bytes:
    day, now = 86_400, int(time.time())
    return _number(1, serial) + _number(2, issuer) + _bytes(3, key) + _number(4, now - day) + _number(5, now + day)


def _signed(details: bytes, private: bytes) -> bytes:
    return _bytes(1, details) + _bytes(2, xeddsa_sign(private, details))
