"""Hypothesis drives the scripts and a model of the queue in plain Python; after each step both must agree."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.jobs.engine import QUEUE, Engine
from tests.integration.jobs.engine import settings as queue_settings
from tests.support.redis_server import RedisServer
from zapd.jobs.broker import Claimed, Ending, Finished
from zapd.jobs.keys import key

NOW_MS = time.time_ns() // 1_000_000
NEVER = 9_999_999_999_999
LEVELS = ("5", "6")
IDS = st.sampled_from([f"j{number}" for number in range(12)])
DAEMONS = st.sampled_from(["a", "b"])


@dataclass
class Known:
    """A live job, as the model knows it. `place` is waiting, staged, delayed or active."""

    level: str
    lane: str
    place: str
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
            found += self._read(f"b:{level}", owner, free - len(found))
            if lanes_first:
                found += self._read_lanes(level, owner, free - len(found), cap)
            found += self._read(f"r:{level}", owner, free - len(found))
            if not lanes_first:
                found += self._read_lanes(level, owner, free - len(found), cap)
        claimed = []
        for name in found:
            if name in self.jobs and self.jobs[name].place == "waiting":  # else: stale
                self.jobs[name].place, self.jobs[name].owner = "active", owner
                claimed.append(name)
        return claimed

    def _read(self, stream: str, owner: str, count: int) -> list[str]:
        taken, self.streams[stream] = self.streams[stream][:count], self.streams[stream][count:]
        return taken

    def _read_lanes(self, level: str, owner: str, count: int, cap: int) -> list[str]:
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
        if self.flying[lane] < cap and lane in self.parked:
            turns[lane] = float("inf")
            return []
        if self.flying[lane] >= cap or not self.lanes[level, lane]:
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


class Machine(RuleBasedStateMachine):
    """Two daemons of different nodes on one queue."""

    url: ClassVar[str]
    cap: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.held: dict[str, list[Claimed]] = {"a": [], "b": []}
        self.claims = {"a": 0, "b": 0}
        self.stale: list[Claimed] = []
        self.last: tuple[str, list[Finished], list[bool]] | None = None
        self.run(self._start())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _start(self) -> None:
        self.engine = Engine(self.url, queue_settings(lane_cap=self.cap))
        await self.engine.redis.flushall()
        self.brokers = {"a": self.engine.broker, "b": self.engine.another("b")}

    @rule(
        name=IDS,
        level=st.sampled_from(LEVELS),
        lane=st.sampled_from(["", "", "x", "y", "z"]),
        due=st.sampled_from([0, 0, 0, 1, NEVER]),
    )
    def enqueue(self, name: str, level: str, lane: str, due: int) -> None:
        job = self.engine.job(name, priority=int(level), lane=lane, due_at=due)
        (added,) = self.run(self.brokers["a"].enqueue([job]))

        assert added == (name not in self.model.jobs)
        if added:
            self.model.dead.discard(name)
            self.model.jobs[name] = Known(level, lane, "delayed", later=True)
            if due != NEVER:
                self.model.place(name)

    @rule(who=DAEMONS, free=st.integers(1, 5))
    def claim(self, who: str, free: int) -> None:
        time.sleep(0.002)  # what is due "now" has the next whole millisecond
        due = self.run(self.engine.redis.zrangebyscore(key(QUEUE, "d"), 0, NEVER - 1))
        names = [name.decode() for name in due if not self.model.jobs[name.decode()].later]
        self.claims[who] += 1
        claim = self.run(self.brokers[who].claim(QUEUE, free))

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
        self.stale += claims
        for claimed, each in zip(claims, endings, strict=True):
            self._ended(claimed.job.id, each, later=delay > 0)

    def _ended(self, name: str, ending: Ending, *, later: bool) -> None:
        model, job = self.model, self.model.jobs[name]
        match ending:
            case Ending.DONE | Ending.DEAD:
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
        old = data.draw(st.sampled_from(self.stale))
        results = [Finished(old, ending)] * 40  # so many that it is not a repetition of a call

        assert not any(self.run(self.brokers[who].finish(QUEUE, results)))
        self.last = None

    @rule(name=IDS)
    def cancel(self, name: str) -> None:
        job = self.model.jobs.get(name)
        canceled = self.run(self.brokers["a"].cancel(QUEUE, name))

        assert canceled == (job is not None and job.place != "active")
        if canceled and job:
            del self.model.jobs[name]
            if job.place == "staged":
                self.model.lanes[job.level, job.lane].remove(name)

    @rule(dead=DAEMONS)
    def a_daemon_dies_and_the_other_reclaims(self, dead: str) -> None:
        other = "b" if dead == "a" else "a"
        self.run(self.engine.kill(self.brokers[dead]))
        taken = self.run(self.brokers[other].reclaim(QUEUE, others=True))

        assert taken == len(self.held[dead])
        for stream in (f"{kind}:{level}" for level in sorted(self.model.used, reverse=True) for kind in "br"):
            for claimed in reversed([claimed for claimed in self.held[dead] if claimed.stream.decode() == stream]):
                self.model.jobs[claimed.job.id].crashes += 1
                self.model.put_back(claimed.job.id)
        self.stale += self.held[dead]
        self.held[dead] = []
        if self.last and self.last[0] == dead:
            self.last = None  # its answers are forgotten with it

    @rule(who=DAEMONS, keep=st.integers(0, 3))
    def the_answer_of_a_claim_was_lost(self, who: str, keep: int) -> None:
        known, lost = self.held[who][:keep], self.held[who][keep:]
        self.claims[who] += 1
        found = self.run(self.brokers[who].recover(QUEUE, [claimed.job.id for claimed in known]))

        assert found == len(lost)
        for claimed in sorted(lost, key=lambda claimed: claimed.entry, reverse=True):
            self.model.put_back(claimed.job.id)
        self.stale += lost
        self.held[who] = known

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

    @rule()
    def pause_or_resume(self) -> None:
        self.model.paused = not self.model.paused
        broker = self.brokers["a"]
        self.run((broker.pause if self.model.paused else broker.resume)(QUEUE))

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data(), retry=st.booleans())
    def retry_or_drop_a_dead_one(self, data: st.DataObject, retry: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.dead)))
        self.model.dead.discard(name)
        view = self.run(self.brokers["a"].job(QUEUE, name))
        if not retry:
            assert self.run(self.brokers["a"].drop_dead(QUEUE, name))
            return
        assert self.run(self.brokers["a"].retry_dead(QUEUE, name))
        self.model.jobs[name] = Known(str(view.job.priority), view.job.lane, "waiting")
        self.model.place(name)

    @invariant()
    def redis_is_as_the_model_says(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        redis, model = self.engine.redis, self.model
        live = {name.decode() for name in await redis.hkeys(key(QUEUE, "jobs"))}
        assert live == set(model.jobs)
        delayed = {name.decode() for name in await redis.zrange(key(QUEUE, "d"), 0, -1)}
        assert delayed == {name for name, job in model.jobs.items() if job.place == "delayed"}
        held = await redis.hgetall(key(QUEUE, "a"))
        owners = {name.decode(): value.decode()[0] for name, value in held.items()}
        assert owners == {name: job.owner for name, job in model.jobs.items() if job.place == "active"}
        assert {name.decode() for name in await redis.zrange(key(QUEUE, "x"), 0, -1)} == model.dead
        for level in model.used:
            for stream in (f"b:{level}", f"r:{level}"):
                active = {claimed.entry for claims in self.held.values() for claimed in claims
                          if claimed.stream.decode() == stream}  # fmt: skip
                entries = await redis.xrange(key(QUEUE, stream))
                assert [fields[b"i"].decode() for entry, fields in entries if entry not in active] == model.streams[
                    stream
                ]
                assert (await redis.xpending(key(QUEUE, stream), "w"))["pending"] == len(active)
            for lane in "xyz":
                staged = await redis.lrange(key(QUEUE, f"l:{level}:{lane}"), 0, -1)
                assert [name.decode() for name in staged] == model.lanes[level, lane]
                if staged and lane not in model.parked and model.flying[lane] < self.cap:
                    assert (await redis.zscore(key(QUEUE, f"e:{level}"), lane) or NEVER) < NOW_MS + 1_800_000
        for lane in "xyz":
            assert int(await redis.hget(key(QUEUE, f"ls:{lane}"), "f") or 0) == model.flying[lane]
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
        for lane in "xyz":
            await broker.wake_lane(QUEUE, lane)
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
        assert {name.decode().rpartition("}:")[2] for name in await redis.keys()} <= {"stat"}


@pytest.mark.parametrize("cap", [1, 2])
def test_the_scripts_do_what_the_model_says(server: RedisServer, cap: int) -> None:
    class Here(Machine):
        url = server.url

    Here.cap = cap
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # making a failing example smaller takes minutes
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
