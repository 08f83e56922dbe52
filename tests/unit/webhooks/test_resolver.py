import socket

import pytest

from zapd.webhooks.guard import Blocked, Guard
from zapd.webhooks.resolver import Resolver


class Names:
    """A name server that counts its questions."""

    def __init__(self, **answers: tuple[str, ...]) -> None:
        self.answers = answers
        self.asked = 0

    def look_up(self, host: str) -> tuple[str, ...]:
        self.asked += 1
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self.answers[host]


async def test_an_address_is_judged_and_never_looked_up() -> None:
    names = Names()
    resolver = Resolver(guard=Guard(), look_up=names.look_up)
    assert await resolver.addresses("8.8.8.8") == ("8.8.8.8",)
    for refused in ("10.0.0.1", "::1"):
        with pytest.raises(Blocked):
            await resolver.addresses(refused)
    assert names.asked == 0
    resolver.close()


async def test_all_answers_are_judged() -> None:
    names = Names(good=("8.8.8.8", "2600::1"), mixed=("8.8.8.8", "::ffff:10.0.0.1"))
    resolver = Resolver(guard=Guard(), look_up=names.look_up)
    assert await resolver.addresses("good") == ("8.8.8.8", "2600::1")
    with pytest.raises(Blocked):
        await resolver.addresses("mixed")
    resolver.close()


async def test_a_name_that_changes_its_answer_is_judged_again() -> None:
    names = Names(moving=("8.8.8.8",))
    resolver = Resolver(guard=Guard(), look_up=names.look_up, remember=0)
    await resolver.addresses("moving")
    names.answers["moving"] = ("127.0.0.1",)
    with pytest.raises(Blocked):
        await resolver.addresses("moving")
    resolver.close()


async def test_a_burst_of_equal_questions_is_asked_once_and_a_bad_name_too() -> None:
    names = Names(good=("8.8.8.8",))
    resolver = Resolver(guard=Guard(), look_up=names.look_up, remember=60)
    for _ in range(5):
        await resolver.addresses("good")
        with pytest.raises(socket.gaierror):
            await resolver.addresses("unknown")
    assert names.asked == 2
    resolver.close()


async def test_a_label_that_dns_cannot_hold_is_an_unknown_name() -> None:
    resolver = Resolver(guard=Guard())
    with pytest.raises(socket.gaierror):
        await resolver.addresses("x" * 64 + ".invalid")
    resolver.close()
