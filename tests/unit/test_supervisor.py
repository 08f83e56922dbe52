"""Who starts when, who stops when, and how often a part may crash."""

import asyncio

import pytest

from tests.support import eventually
from zapd.backoff import Backoff
from zapd.supervisor import RestartBudget, Supervisor

AT_ONCE = Backoff(base=0.0)


class Part:
    """A service that writes down what happens to it. `crash` makes its next runs raise."""

    def __init__(self, name: str, story: list[str], *, crashes: int = 0) -> None:
        self.name = name
        self.story = story
        self.crashes = crashes
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        self.story.append(f"{self.name} runs")
        if self.crashes:
            self.crashes -= 1
            raise ConnectionError("gone")
        await self.stopped.wait()

    async def stop(self) -> None:
        self.story.append(f"{self.name} stops")
        self.stopped.set()


class Ends(Part):
    async def run(self) -> None:
        self.story.append(f"{self.name} runs")


def supervisor(*parts: Part, restarts: int = 3, failures: list[tuple[str, str]] | None = None) -> Supervisor:
    failed = failures if failures is not None else []
    return Supervisor(
        services=parts,
        random=lambda: 0.0,
        on_failed=lambda name, reason: failed.append((name, reason)),
        budget=RestartBudget(restarts=restarts, window=60),
        backoff=AT_ONCE,
    )


async def test_parts_start_in_order_and_stop_in_reverse() -> None:
    story: list[str] = []
    tree = supervisor(Part("a", story), Part("b", story), Part("c", story))
    await tree.start()
    assert story == ["a runs", "b runs", "c runs"]
    assert all(state["up"] for state in tree.status().values())
    await tree.stop()
    assert story[3:] == ["c stops", "b stops", "a stops"]
    assert not any(state["up"] for state in tree.status().values())


async def test_stop_takes_only_the_named_parts() -> None:
    story: list[str] = []
    tree = supervisor(Part("a", story), Part("b", story), Part("c", story))
    await tree.start()
    await tree.stop("a", "c")
    assert story[3:] == ["c stops", "a stops"]
    assert {name: state["up"] for name, state in tree.status().items()} == {"a": False, "b": True, "c": False}
    await tree.stop()


async def test_a_crashed_part_runs_again_and_the_others_do_not_notice() -> None:
    story: list[str] = []
    tree = supervisor(Part("a", story, crashes=2), Part("b", story))
    await tree.start()
    await eventually(lambda: story.count("a runs") == 3)
    assert story.count("b runs") == 1
    assert tree.status()["a"] == {"up": True, "restarts": 2, "failed": None}
    await tree.stop()


async def test_a_part_that_keeps_a_process_is_up_when_that_answers() -> None:
    class Keeps(Part):
        child_up = False
        child_restarts = 7

    keeper = Keeps("a", [], crashes=1)
    tree = supervisor(keeper)
    await tree.start()
    await eventually(lambda: len(keeper.story) == 2)
    assert tree.status()["a"] == {"up": False, "restarts": 8, "failed": None}
    keeper.child_up = True
    assert tree.status()["a"]["up"] is True
    await tree.stop()


async def test_a_part_past_its_budget_is_marked_failed_and_told_once() -> None:
    story: list[str] = []
    failures: list[tuple[str, str]] = []
    tree = supervisor(Part("a", story, crashes=100), Part("b", story), restarts=3, failures=failures)
    await tree.start()
    await eventually(lambda: failures)
    assert failures == [("a", "ConnectionError: gone")]
    assert story.count("a runs") == 4  # the first run and three restarts
    status = tree.status()
    assert (status["a"]["up"], status["a"]["failed"]) == (False, "ConnectionError: gone")
    assert status["b"]["up"] is True
    await tree.stop()


async def test_a_part_that_waited_for_something_canceled_counts_as_crashed() -> None:
    """Else it would be gone without a word: neither up nor failed."""

    class Waits(Part):
        async def run(self) -> None:
            if not self.story:
                gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                gone.cancel()
                self.story.append("waits")
                await gone
            await super().run()

    story: list[str] = []
    tree = supervisor(Waits("a", story))
    await tree.start()
    await eventually(lambda: story == ["waits", "a runs"])
    assert tree.status()["a"] == {"up": True, "restarts": 1, "failed": None}
    await tree.stop()


async def test_a_part_that_cannot_stop_does_not_keep_the_others_from_it() -> None:
    class Stubborn(Part):
        async def stop(self) -> None:
            raise ConnectionError

    story: list[str] = []
    tree = supervisor(Part("a", story), Stubborn("b", story))
    await tree.start()
    await tree.stop()
    assert story[2:] == ["a stops"]
    assert not any(state["up"] for state in tree.status().values())


async def test_a_part_that_ends_by_itself_counts_as_crashed() -> None:
    failures: list[tuple[str, str]] = []
    tree = supervisor(Ends("a", []), restarts=2, failures=failures)
    await tree.start()
    await eventually(lambda: failures)
    assert failures == [("a", "ended by itself")]
    await tree.stop()


async def test_restarts_wait_longer_each_time() -> None:
    story: list[str] = []
    tree = Supervisor(
        services=[Part("a", story, crashes=100)],
        random=lambda: 0.0,
        on_failed=lambda name, reason: None,
        backoff=Backoff(base=3600.0),
    )
    await tree.start()
    assert story == ["a runs"]
    await asyncio.wait_for(tree.stop(), 1)  # a part that waits for its restart stops at once


@pytest.mark.parametrize("started", [False, True])
async def test_stop_before_start_and_stop_twice_are_harmless(started: bool) -> None:
    story: list[str] = []
    tree = supervisor(Part("a", story))
    if started:
        await tree.start()
    await tree.stop()
    await tree.stop()
    assert story == ["a runs"] * started + ["a stops", "a stops"]
    assert tree.status()["a"]["up"] is False
