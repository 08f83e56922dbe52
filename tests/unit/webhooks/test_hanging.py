"""Many receivers that do not answer must leave slots to the others."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from zapd.webhooks.hanging import HANGS_AFTER, Hanging

SLOTS = 4


class World:
    def __init__(self) -> None:
        self.time = 0.0
        self.hanging = Hanging(slots=SLOTS, clock=lambda: self.time)
        self.posts = ExitStack()

    def post(self, endpoint: str, *, silent: bool = False) -> None:
        self.posts.enter_context(self.hanging.under_way(endpoint, silent=silent))

    def shut_out(self, endpoint: str, *, silent: bool = False) -> bool:
        return self.hanging.shuts_out(endpoint, silent=silent)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.posts:
        yield made


def test_an_endpoint_of_which_one_hangs_gets_no_other_once_many_hang(world: World) -> None:
    for number in range(SLOTS):
        world.post(f"slow {number}")
    assert not world.shut_out("slow 0")  # as long as they may still answer
    world.time = HANGS_AFTER
    assert world.shut_out("slow 0")
    assert not world.shut_out("fine")

    world.posts.close()
    assert not world.shut_out("slow 0")


def test_few_that_hang_are_no_reason(world: World) -> None:
    """A receiver that takes ten seconds for each, and takes them, has its own number at once."""
    for _ in range(SLOTS - 1):
        world.post("slow")
    world.time = HANGS_AFTER
    assert not world.shut_out("slow")


def test_those_that_were_silent_share_a_part(world: World) -> None:
    for number in range(2 * SLOTS):
        assert not world.shut_out(f"silent {number}", silent=True)
        world.post(f"silent {number}", silent=True)
    assert world.shut_out("silent too", silent=True)
    assert not world.shut_out("fine")

    world.posts.close()
    assert not world.shut_out("silent too", silent=True)


def test_nothing_is_kept_of_posts_that_ended(world: World) -> None:
    for _ in range(3):
        world.post("slow")
    world.time = HANGS_AFTER
    world.shut_out("slow")
    world.post("slow")
    world.posts.close()
    kept = world.hanging
    assert (kept._young, kept._old, kept._of, kept._silent) == ({}, {}, {}, 0)
