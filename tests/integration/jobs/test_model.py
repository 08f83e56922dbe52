"""Hypothesis drives the scripts and a model of the queue in plain Python; after each step both must agree."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.jobs.engine import QUEUE, Engine
from tests.integration.jobs.engine import settings as queue_settings
from tests.support.redis_server import RedisServer
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.keys import key

NOW_MS = time.time_ns() // 1_000_000
NEVER = 9_999_999_999_999
LEVELS = ("5", "6")
NAMES = [f"j{number}" for number in range(16)]
IDS = st.sampled_from(NAMES)
JOBS = st.tuples(
    IDS,
    st.sampled_from(LEVELS),
    st.sampled_from(["", "", "x", "y", "z"]),
    st.sampled_from(["", "", "slow"]),
    st.sampled_from([0, 0, 0, 1, NEVER]),
)
DAEMONS = st.sampled_from(["a", "b"])


@dataclass
class Known:
    """A live job, as the model knows it. `place` is waiting, aside (its kind is paused), staged, delayed or active."""

    level: str
    lane: str
    place: str
    kind: str = ""
    attempt: int = 1
    crashes: int = 0
    back: bool = False
    owner: str = ""
    later: bool = False  #: delayed for ever


@dataclass
class Model:
    jobs: dict[str, Known] = field(default_factory=dict)
    streams: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  #: unread entries, stale ones too
    lanes: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))  #: level -> lane -> turn
    gone: dict[str, int] = field(default_factory=lambda: defaultdict(int))  #: void entries of a job
    aside: list[str] = field(default_factory=list)  #: waiting ones of the paused kind
    kind_paused: bool = False
    kind_resuming: bool = False
    stuck: set[str] = field(default_factory=set)  #: lanes whose head is of the paused kind
    shut: set[str] = field(default_factory=set)  #: lanes that are paused
    flying: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    parked: set[str] = field(default_factory=set)
    woken: dict[str, int] = field(default_factory=lambda: defaultdict(int))  #: in flight since before the last wake
    dead: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    paused: bool = False
    clock: float = 0.0

    def soon(self) -> float:
        self.clock += 1
        return self.clock

    def place(self, name: str, *, first: bool = False) -> None:
        job = self.jobs[name]
        self.used.add(job.level)
        if not job.lane:
            job.place = "waiting"
            self.streams[f"{'b' if first else 'r'}:{job.level}"].append(name)
            return
        job.place = "staged"
        staged = self.lanes[job.level, job.lane]
        staged.insert(0 if first else len(staged), name)
        if len(staged) == 1:
            self.turns[job.level][job.lane] = self.soon()

    def arm(self, lane: str, *, overwrite: bool) -> None:
        for level in sorted(self.used, reverse=True):
            if self.lanes.get((level, lane)):
                turn = float("inf") if lane in self.parked else self.soon()
                if overwrite or lane not in self.turns[level]:
                    self.turns[level][lane] = turn

    def release(self, lane: str, *, park: bool = False) -> None:
        if not lane:
            return
        self.flying[lane] -= 1
        if self.woken[lane]:
            self.woken[lane] = min(self.woken[lane] - 1, self.flying[lane])
        elif park:
            self.parked.add(lane)
        self.arm(lane, overwrite=park)

    def put_back(self, name: str) -> None:
        self.release(self.jobs[name].lane)
        self.place(name, first=True)

    def put_all_back(self, names: list[str]) -> None:
        """The oldest claim first."""
        lanes = [name for name in names if self.jobs[name].lane]
        for name in [*(name for name in names if not self.jobs[name].lane), *reversed(lanes)]:
            self.put_back(name)

    def take_out(self, name: str) -> str:
        """Of where it waits; says where that was."""
        job = self.jobs[name]
        if job.place == "staged":
            self.lanes[job.level, job.lane].remove(name)
            if job.lane in self.stuck:  # perhaps it was the head that held it up
                self.stuck.discard(job.lane)
                self.arm(job.lane, overwrite=False)
        elif job.place == "aside":
            self.aside.remove(name)
        elif job.place == "waiting":
            self.gone[name] += 1
        return job.place

    def resume_kind(self) -> None:
        """A claim puts back what was set aside."""
        if not self.kind_resuming:
            return
        self.kind_resuming = False
        aside, self.aside = self.aside, []
        for name in aside:
            self.place(name, first=True)
        stuck, self.stuck = self.stuck, set()
        for lane in sorted(stuck):
            self.arm(lane, overwrite=False)

    def promote(self, due: list[str]) -> None:
        heads = []
        for name in due:
            job = self.jobs[name]
            if job.back and job.lane:
                heads.append(name)
            else:
                self.place(name)
        for name in reversed(heads):
            self.place(name, first=True)

    def claim(self, owner: str, free: int, *, lanes_first: bool, cap: int) -> list[str]:
        if self.paused:
            return []
        found: list[str] = []
        for level in sorted(self.used, reverse=True):
            self._read("b", level, free - len(found), found)
            if lanes_first:
                found += self._read_lanes(level, free - len(found), cap)
            self._read("r", level, free - len(found), found)
            if not lanes_first:
                found += self._read_lanes(level, free - len(found), cap)
        for name in found:
            self.jobs[name].place, self.jobs[name].owner = "active", owner
        return found

    def _read(self, stream: str, level: str, count: int, found: list[str]) -> None:
        entries = self.streams[f"{stream}:{level}"]
        taken, entries[:] = entries[:count], entries[count:]
        for name in taken:
            job = self.jobs.get(name)
            if job is None or job.place not in ("waiting", "aside") or name in found or job.level != level:
                self.gone[name] -= 1
                assert self.gone[name] >= 0  # else it would have gone to quarantine
            elif job.kind and self.kind_paused:
                job.place = "aside"
                self.aside.append(name)
            else:
                found.append(name)

    def _read_lanes(self, level: str, count: int, cap: int) -> list[str]:
        turns = self.turns[level]
        taken: list[str] = []
        tries = 0
        while len(taken) < count and tries < count * 4:
            armed = sorted((lane for lane in turns if turns[lane] != float("inf")), key=lambda lane: turns[lane])
            for lane in armed[: count - len(taken)]:
                tries += 1
                taken += self._take_head(level, lane, cap)
            if not armed:
                break
        return taken

    def _take_head(self, level: str, lane: str, cap: int) -> list[str]:
        turns = self.turns[level]
        is_open = self.flying[lane] < cap and lane not in self.shut
        if is_open and lane in self.parked:
            turns[lane] = float("inf")
            return []
        staged = self.lanes[level, lane]
        held_up = bool(is_open and staged and self.jobs[staged[0]].kind and self.kind_paused)
        if held_up:
            self.stuck.add(lane)
        if not is_open or held_up or not staged:
            del turns[lane]
            return []
        name = self.lanes[level, lane].pop(0)
        self.jobs[name].place = "waiting"
        self.flying[lane] += 1
        if self.flying[lane] < cap:
            turns[lane] = self.soon()
        else:
            del turns[lane]
        return [name]


def _names(found: list[bytes]) -> set[str]:
    return {name.decode() for name in found}


class Machine(RuleBasedStateMachine):
    """Two daemons of different nodes on one queue."""

    url: ClassVar[str]
    cap: ClassVar[int]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.held: dict[str, list[Claimed]] = {"a": [], "b": []}
        self.claims = {"a": 0, "b": 0}
        self.stale: list[tuple[str, Claimed]] = []  #: whose it was
        self.last: tuple[str, list[Finished], list[bool]] | None = None
        self.run(self._start())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _start(self) -> None:
        self.engine = Engine(self.url, queue_settings(lane_cap=self.cap))
        await self.engine.redis.flushall()
        # The model knows no ageing: on a busy machine a job may well wait for five seconds.
        self.brokers = {who: self.engine.another(who, aged_after=3600) for who in "ab"}
        self.engine.broker = self.brokers["a"]

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=4))
    def enqueue(self, jobs: list[tuple[str, str, str, str, int]]) -> None:
        made = [
            self.engine.job(name, priority=int(level), lane=lane, kind=kind, due_at=due)
            for name, level, lane, kind, due in jobs
        ]
        added = self.run(self.brokers["a"].enqueue(made))

        for (name, level, lane, kind, due), new in zip(jobs, added, strict=True):
            assert new == (name not in self.model.jobs)
            if new:
                self.model.dead.discard(name)
                self.model.jobs[name] = Known(level, lane, "delayed", kind, later=True)
                if due != NEVER:
                    self.model.place(name)

    @rule(who=DAEMONS, free=st.integers(1, 5))
    def claim(self, who: str, free: int) -> None:
        time.sleep(0.002)  # what is due "now" has the next whole millisecond
        due = self.run(self.engine.redis.zrangebyscore(key(QUEUE, "d"), 0, NEVER - 1))
        names = [name.decode() for name in due if not self.model.jobs[name.decode()].later]
        self.claims[who] += 1
        claim = self.run(self.brokers[who].claim(QUEUE, free))

        self.model.resume_kind()
        self.model.promote(names)
        expected = self.model.claim(who, free, lanes_first=self.claims[who] % 2 == 0, cap=self.cap)
        assert [claimed.job.id for claimed in claim.jobs] == expected
        assert len(expected) <= free
        for claimed in claim.jobs:
            known = self.model.jobs[claimed.job.id]
            assert (claimed.job.attempt, claimed.job.crashes) == (known.attempt, known.crashes)
        if not claim.more:
            assert len(claim.jobs) < free
        self.held[who] += claim.jobs

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), ending=st.sampled_from(Ending), later=st.booleans())
    def finish(self, data: st.DataObject, ending: Ending, later: bool) -> None:
        who = data.draw(st.sampled_from([who for who in self.held if self.held[who]]))
        count = data.draw(st.integers(1, len(self.held[who])))
        claims, self.held[who] = self.held[who][:count], self.held[who][count:]
        endings = [Ending.SNOOZE if ending is Ending.PARK and not claimed.job.lane else ending for claimed in claims]
        delay = 3_600_000 if later or ending is Ending.PARK else 0
        results = [Finished(claimed, each, delay, "why") for claimed, each in zip(claims, endings, strict=True)]
        taken = self.run(self.brokers[who].finish(QUEUE, results))

        assert taken == [True] * count
        self.last = (who, results, taken)
        self.stale += [(who, claimed) for claimed in claims]
        for claimed, each in zip(claims, endings, strict=True):
            self._ended(claimed.job.id, each, later=delay > 0)

    def _ended(self, name: str, ending: Ending, *, later: bool) -> None:
        model, job = self.model, self.model.jobs[name]
        match ending:
            case Ending.DONE | Ending.DEAD | Ending.CANCELED:
                del model.jobs[name]
                if ending is Ending.DEAD:
                    model.dead.add(name)
                model.release(job.lane)
            case Ending.HAND_BACK:
                model.put_back(name)
            case Ending.PARK:
                model.place(name, first=True)
                model.release(job.lane, park=True)
            case Ending.RETRY | Ending.SNOOZE:
                job.attempt += ending is Ending.RETRY
                job.place, job.back, job.later = "delayed", True, later
                model.release(job.lane)

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat_the_last_finish(self) -> None:
        assert self.last
        who, results, taken = self.last

        assert self.run(self.brokers[who].finish(QUEUE, results)) == taken

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), who=DAEMONS, ending=st.sampled_from(Ending))
    def finish_what_is_not_ours(self, data: st.DataObject, who: str, ending: Ending) -> None:
        owner, old = data.draw(st.sampled_from(self.stale))
        if (old.job.id, old.fence) in {(claimed.job.id, claimed.fence) for claimed in self.held[who]}:
            who = owner  # each daemon counts its claims by itself: the number is the other one's too, and that is right
        results = [Finished(old, ending)] * 40  # so many that it is not a repetition of a call

        assert not any(self.run(self.brokers[who].finish(QUEUE, results)))
        self.last = None

    @rule(data=st.data(), known=st.booleans())
    def cancel(self, data: st.DataObject, known: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.jobs) if known and self.model.jobs else NAMES))
        job = self.model.jobs.get(name)
        canceled = self.run(self.brokers["a"].cancel(QUEUE, name))

        assert canceled == (job is not None and job.place != "active")
        if canceled and job:
            self.model.take_out(name)
            del self.model.jobs[name]

    @rule(dead=DAEMONS)
    def a_daemon_dies_and_the_other_reclaims(self, dead: str) -> None:
        other = "b" if dead == "a" else "a"
        self.run(self.engine.kill(self.brokers[dead]))
        taken = self.run(self.brokers[other].reclaim(QUEUE, others=True))

        assert taken == len(self.held[dead])
        for claimed in self.held[dead]:
            self.model.jobs[claimed.job.id].crashes += 1
        self.model.put_all_back([claimed.job.id for claimed in self.held[dead]])
        assert self.run(self.brokers[other].reclaim(QUEUE, others=True)) == 0  # the same call again
        self.stale += [(dead, claimed) for claimed in self.held[dead]]
        self.held[dead] = []
        if self.last and self.last[0] == dead:
            self.last = None  # its answers are forgotten with it

    @rule(who=DAEMONS, keep=st.integers(0, 3))
    def the_answer_of_a_claim_was_lost(self, who: str, keep: int) -> None:
        known, lost = self.held[who][:keep], self.held[who][keep:]
        self.claims[who] += 1
        found = self.run(self.brokers[who].recover(QUEUE, [claimed.job.id for claimed in known]))

        assert found == len(lost)
        self.model.put_all_back([claimed.job.id for claimed in lost])
        self.stale += [(who, claimed) for claimed in lost]
        self.held[who] = known
        void = self.run(self.engine.scripts.call("claim", QUEUE, self.brokers[who].consumer, self.claims[who] - 1, 5,
                                                 15_000, 0, 1, self.cap, 0, 1, 0, 5000))  # fmt: skip
        assert void == [0, -1, [], 0, 0, 0]  # the lost claim itself, late

    @rule(data=st.data(), levels=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=3))
    def reprioritize(self, data: st.DataObject, levels: list[str]) -> None:
        waiting = sorted(name for name, job in self.model.jobs.items() if job.place != "active")
        name = data.draw(st.sampled_from(waiting or NAMES))
        for level in [*levels, levels[-1]]:  # the last one twice: a repeated call changes nothing
            self._reprioritize(name, level)

    def _reprioritize(self, name: str, level: str) -> None:
        job = self.model.jobs.get(name)
        moved = self.run(self.brokers["b"].reprioritize(QUEUE, name, int(level)))

        if job is None:
            assert moved is None
            return
        assert moved == (job.place != "active" or job.level == level)
        if moved and job.level != level:
            was = self.model.take_out(name)
            job.level = level
            if was == "aside":
                self.model.aside.append(name)
            elif was != "delayed":
                self.model.place(name)

    @rule()
    def pause_or_resume_a_kind(self) -> None:
        model = self.model
        if not model.kind_paused and (model.aside or model.stuck):
            return  # it is not resumed yet: the next claim does that
        model.kind_paused = not model.kind_paused
        model.kind_resuming = not model.kind_paused
        self.run(self.brokers["a"].pause_kind(QUEUE, "slow", paused=model.kind_paused))

    @rule(lane=st.sampled_from(["x", "y"]))
    def pause_or_resume_a_lane(self, lane: str) -> None:
        shut = lane not in self.model.shut
        self.run(self.brokers["a"].pause_lane(QUEUE, lane, paused=shut))
        if shut:
            self.model.shut.add(lane)
        else:
            self.model.shut.discard(lane)
            self.model.arm(lane, overwrite=False)

    @rule(lane=st.sampled_from(["x", "y", "z"]), wake=st.booleans())
    def park_or_wake_a_lane(self, lane: str, wake: bool) -> None:
        if wake:
            self.run(self.brokers["a"].wake_lane(QUEUE, lane))
            self.model.parked.discard(lane)
            self.model.woken[lane] = self.model.flying[lane]
        else:
            self.run(self.brokers["a"].park_lane(QUEUE, lane, 3600))
            self.model.parked.add(lane)
        self.model.arm(lane, overwrite=True)

    @rule(again=st.sampled_from([True, False, False]))
    def pause_or_resume(self, again: bool) -> None:
        if not again and not self.model.paused:
            return  # a queue that is paused half of the time shows little
        self.model.paused = not self.model.paused
        broker = self.brokers["a"]
        self.run((broker.pause if self.model.paused else broker.resume)(QUEUE))

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data())
    def drop_a_dead_one(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.dead)))
        self.model.dead.discard(name)
        assert self.run(self.brokers["a"].drop_dead(QUEUE, name))

    @invariant()
    def redis_is_as_the_model_says(self) -> None:
        type(self).steps += 1
        self.run(self._compare())

    async def _compare(self) -> None:
        model = self.model
        streams = [f"{kind}:{level}" for level in sorted(model.used) for kind in "br"]
        lanes = [(level, lane) for level in sorted(model.used) for lane in "xyz"]
        async with self.engine.redis.pipeline(transaction=False) as pipe:
            pipe.hkeys(key(QUEUE, "jobs")).zrange(key(QUEUE, "d"), 0, -1).hgetall(key(QUEUE, "a"))
            pipe.zrange(key(QUEUE, "x"), 0, -1).hgetall(key(QUEUE, "gone")).lrange(key(QUEUE, "k:slow"), 0, -1)
            pipe.hget(key(QUEUE, "meta"), "void").llen(key(QUEUE, "qr"))
            for stream in streams:
                pipe.xrange(key(QUEUE, stream))
            for level, lane in lanes:
                pipe.lrange(key(QUEUE, f"l:{level}:{lane}"), 0, -1).zscore(key(QUEUE, f"e:{level}"), lane)
            for lane in "xyz":
                pipe.hget(key(QUEUE, f"ls:{lane}"), "f")
            live, delayed, held, dead, gone, aside, void, strangers, *rest = await pipe.execute()
        assert _names(live) == set(model.jobs)
        assert _names(delayed) == {name for name, job in model.jobs.items() if job.place == "delayed"}
        owners = {name.decode(): value.decode()[0] for name, value in held.items()}
        assert owners == {name: job.owner for name, job in model.jobs.items() if job.place == "active"}
        assert _names(dead) == model.dead
        assert {name.decode(): int(count) for name, count in gone.items()} == {n: c for n, c in model.gone.items() if c}
        assert (int(void or 0), strangers) == (sum(model.gone.values()), 0)
        assert [name.decode() for name in aside] == model.aside
        assert await self.brokers["a"].locate(QUEUE, list(model.jobs)) == ["live"] * len(model.jobs)  # none is astray
        for stream in streams:
            assert [fields[b"i"].decode() for _, fields in rest.pop(0)] == model.streams[stream]
        for level, lane in lanes:
            staged, armed_at = rest.pop(0), rest.pop(0)
            assert [name.decode() for name in staged] == model.lanes[level, lane]
            blocked = lane in model.parked | model.stuck | model.shut or model.flying[lane] >= self.cap
            assert not staged or blocked or armed_at < NOW_MS + 1_800_000
        for lane in "xyz":
            assert int(rest.pop(0) or 0) == model.flying[lane]
            assert model.flying[lane] <= self.cap

    def teardown(self) -> None:
        try:
            self.run(self._empty())
        finally:
            self.run(self.engine.close())
            self.runner.close()

    async def _empty(self) -> None:
        """Everything can be worked off, and then no key is left that costs memory for ever."""
        redis, broker = self.engine.redis, self.brokers["a"]
        await broker.resume(QUEUE)
        await broker.pause_kind(QUEUE, "slow", paused=False)
        for lane in "xyz":
            await broker.wake_lane(QUEUE, lane)
            await broker.pause_lane(QUEUE, lane, paused=False)
        for who, claims in self.held.items():
            if claims:
                await self.brokers[who].finish(QUEUE, [Finished(claimed, Ending.DONE) for claimed in claims])
        for name in await redis.zrange(key(QUEUE, "d"), 0, -1):
            await redis.zadd(key(QUEUE, "d"), {name: 1})
        more = True
        while more:
            claim = await broker.claim(QUEUE, 100)
            if claim.jobs:
                await broker.finish(QUEUE, [Finished(claimed, Ending.DONE) for claimed in claim.jobs])
            more = bool(claim.jobs) or claim.more
        await self.engine.another("a", completed_for=0, dead_for=0).clean(QUEUE)
        for each in self.brokers.values():
            await each.leave(QUEUE)
        assert {name.decode().rpartition("}:")[2] for name in await redis.keys()} <= {"stat", "meta", "seen"}
        assert await redis.hkeys(key(QUEUE, "meta")) in ([], [b"kinds"])


STEPS = 2_500  #: at least, of each run; there are four, six where the distribution's Redis is installed


@pytest.mark.parametrize("cap", [1, 2])
def test_the_scripts_do_what_the_model_says(server: RedisServer, cap: int, request: pytest.FixtureRequest) -> None:
    class Here(Machine):
        url = server.url

    Here.cap = cap
    run_state_machine_as_test(
        seed(request.node.name)(Here),  # else all six would draw the same
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # making a failing example smaller takes minutes
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Here.steps >= STEPS
