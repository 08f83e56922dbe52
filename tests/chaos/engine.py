"""The faults of the engine: worker processes on one Redis, without SQL. Numbers are those of the fault catalogue.

A scenario loads the cluster, does its harm and waits until all is well; what must be true of it beside the standing
invariants (`cluster.judge`) it asserts itself. `SCENARIOS` lists them: a new one is one more function and one line.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.chaos.cluster import Cluster, Verdict
from tests.chaos.worker import QUEUE
from tests.support import eventually
from zapd.errors import Unavailable
from zapd.jobs.client import connect
from zapd.jobs.job import Job
from zapd.jobs.keys import key
from zapd.jobs.scripts import Scripts

KILL_MINUTES = float(os.environ.get("KILL_MINUTES", "0.5"))
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")  #: Debian's package `faketime`


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault. `zombies`: a worker is cut off and may still run what others took over."""

    number: int
    name: str
    run: Callable[[Cluster], Awaitable[None]]
    zombies: bool = False
    setup: dict[str, Any] = field(default_factory=dict)


async def play(scenario: Scenario, directory: Path) -> Verdict:
    """One run, and its verdict."""
    async with Cluster(directory, **scenario.setup) as cluster:
        try:
            await scenario.run(cluster)
        except AssertionError as error:
            verdict = await cluster.judge(zombies=scenario.zombies)
            return Verdict(**{**vars(verdict), "wrong": (*verdict.wrong, str(error))})
        await cluster.healed()
        return await cluster.judge(zombies=scenario.zombies)


# --- processes ---


async def kill_one(cluster: Cluster) -> None:
    """1: kill -9 of one of two daemons under load; the other takes over. With the lease that the product has."""
    await cluster.add(100, "work:0.2")
    await cluster.busy()
    cluster.fault()
    await cluster.kill(0)
    await cluster.healed()


async def kill_loop(cluster: Cluster) -> None:
    """2: one of four daemons is killed every 1 to 3 s, and comes back; for `KILL_MINUTES`, 10 in a nightly run."""
    end = time.monotonic() + KILL_MINUTES * 60
    load = asyncio.create_task(_trickle(cluster, KILL_MINUTES * 60 + 3))
    while time.monotonic() < end:
        number = random.randrange(4)
        cluster.fault()
        await cluster.kill(number)
        await cluster.start(number)
        await asyncio.sleep(random.uniform(0.5, 2.5))  # a start takes half a second
    await load
    await cluster.healed()


async def _trickle(cluster: Cluster, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await cluster.add(5, lane=f"lane{random.randrange(8)}")
        await cluster.add(5)
        await asyncio.sleep(0.05)


async def zombie(cluster: Cluster) -> None:
    """3: SIGSTOP for two leases, then SIGCONT: every finish of the zombie is refused."""
    await cluster.add(60, "work:0.5")
    await cluster.busy(0, 10)
    cluster.signal(0, signal.SIGSTOP)
    cluster.fault()
    held = cluster.holders(0)
    await eventually(lambda: not _unstarted_elsewhere(cluster, held), within=60)
    await asyncio.sleep(3.0)
    cluster.signal(0, signal.SIGCONT)
    await cluster.healed()
    await eventually(lambda: cluster.number("fenced") >= len(held), within=20)
    assert cluster.number("fenced") == len(held), f"{cluster.number('fenced')} fenced, {len(held)} held"


def _unstarted_elsewhere(cluster: Cluster, held: list[str]) -> list[str]:
    found = cluster.jobs()
    return [job_id for job_id in held if len({start.who for start in found[job_id].starts}) < 2]


async def blocked_loop(cluster: Cluster) -> None:
    """4: a job blocks its loop for four leases: it and its neighbours move, once."""
    (blocking,) = await cluster.add(1, "block:12")
    await eventually(lambda: cluster.jobs()[blocking].starts, within=10)
    cluster.fault()
    await cluster.add(40, "work:0.1")
    await cluster.healed()


async def terminate(cluster: Cluster) -> None:
    """5: SIGTERM under load, with a job that does not end: it is handed back, exit 0, no attempt burnt."""
    (stuck,) = await cluster.add(1, "stuck")
    await cluster.add(100, "work:0.1")
    await eventually(lambda: cluster.jobs()[stuck].starts, within=20)
    holder = 0 if stuck in cluster.holders(0) else 1
    cluster.fault()
    for number in (holder, 1 - holder):
        cluster.signal(number, signal.SIGTERM)
        code = await asyncio.wait_for(cluster.processes[number].wait(), 30)
        assert code == 0, f"exit {code}"
        await cluster.start(number, stuck=False)
    await cluster.healed()
    assert cluster.number("handed-back") >= 1


# --- Redis ---


async def restart_with_file(cluster: Cluster) -> None:
    """7: kill -9 of a Redis that keeps a file, and a new start."""
    await cluster.add(150, "work:0.1")
    cluster.fault()
    await cluster.restart_redis()
    await cluster.add(50)
    await cluster.healed()


async def slow_redis(cluster: Cluster) -> None:
    """11: DEBUG SLEEP, CLIENT PAUSE and a slow script, each shorter than a lease: nobody is taken for dead."""
    await cluster.add(100, "work:0.1")
    cluster.fault()
    with suppress(RedisError):
        await cluster.redis.execute_command("DEBUG", "SLEEP", "1")
    await cluster.redis.execute_command("CLIENT", "PAUSE", "1000")
    await cluster.add(50, "work:0.1")
    with suppress(RedisError):
        await cluster.redis.eval("local s = redis.call('TIME')[1] repeat until redis.call('TIME')[1] - s > 1", 0)
    await cluster.add(50, "work:0.1")
    await cluster.healed()
    assert cluster.number("reclaimed") == 0, f"{cluster.number('reclaimed')} jobs were taken from living daemons"


async def killed_connections(cluster: Cluster) -> None:
    """14: for 4 s all connections are killed five times a second; then SCRIPT FLUSH, then the groups are destroyed."""
    load = asyncio.create_task(cluster.add(150, "work:0.05"))
    lines, begun = cluster.log_lines(), time.monotonic()
    cluster.fault()
    for _ in range(20):
        with suppress(RedisError):
            await cluster.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        await asyncio.sleep(0.2)
    seconds = time.monotonic() - begun
    await load
    await cluster.redis.script_flush()
    await cluster.add(20)
    for name in ("r:5", "b:5"):
        with suppress(RedisError):
            await cluster.redis.execute_command("XGROUP", "DESTROY", key(QUEUE, name), "w")
    await cluster.add(20)
    await cluster.healed()
    rate = (cluster.log_lines() - lines) / seconds / 2
    assert rate < 20, f"{rate:.0f} warnings a second and daemon: a hot loop"


async def full(cluster: Cluster) -> None:
    """17: no memory left: nothing new is taken, what is there runs to its end, and it goes on when there is room."""
    await cluster.broker.pause(QUEUE)
    await cluster.add(100)
    used = (await cluster.redis.info("memory"))["used_memory"]
    await cluster.redis.config_set("maxmemory", used - 50_000)
    refused = Job(id="refused", queue=QUEUE, payload=b"x" * 1000, priority=5, created_at=0)
    try:
        await cluster.broker.enqueue([refused])
    except Unavailable:
        pass
    else:
        raise AssertionError("a full Redis took a job")
    cluster.fault()
    await cluster.broker.resume(QUEUE)
    await cluster.healed()
    await cluster.redis.config_set("maxmemory", 0)
    await cluster.add(20)


# --- the network ---


async def lost_answers(cluster: Cluster) -> None:
    """12: the answers of every second claim, finish and enqueue are thrown away after they took effect."""
    turn = iter(range(1 << 30))
    for proxy in cluster.commands:
        proxy.drop = lambda request: b"EVALSHA" in request and next(turn) % 2 == 0
    cluster.fault()
    await cluster.add(100, "work:0.05")
    for n in range(5):
        await cluster.add(10, "work:0.02", lane=f"lane{n}")
    await eventually(lambda: sum(proxy.dropped for proxy in cluster.commands) >= 20, within=60)
    for proxy in cluster.commands:
        proxy.heal()
    await cluster.healed()


async def cut_commands(cluster: Cluster) -> None:
    """12: the command connection of one of two is black, half-open, reset; its heartbeats go on."""
    proxy = cluster.commands[0]
    for harm in (proxy.blackhole, proxy.half_open, proxy.reset):
        await cluster.add(30, "work:0.1")
        cluster.fault()
        harm()
        await asyncio.sleep(1.5)
        proxy.heal()
        proxy.reset()
    await cluster.healed()


async def slow_network(cluster: Cluster) -> None:
    """12: 50 ms of latency and 50 ms of jitter on everything."""
    for proxy in (*cluster.commands, *cluster.beats):
        proxy.latency = proxy.jitter = 0.05
    cluster.fault()
    await cluster.add(100)
    await cluster.healed()
    assert cluster.number("reclaimed") == 0


async def cut_heartbeats(cluster: Cluster) -> None:
    """12: only the heartbeats of one are lost: the other takes its jobs, its own finishes are refused."""
    await cluster.add(80, "work:0.5")
    await cluster.busy()
    cluster.fault()
    cluster.beats[0].blackhole()
    await cluster.add(100, "work:0.2")
    await asyncio.sleep(6.0)
    cluster.beats[0].heal()
    cluster.beats[0].reset()
    await cluster.healed()


async def torn_heartbeats(cluster: Cluster) -> None:
    """12: heartbeats of one are half-open, reset, and their answers dropped, each for less than a lease."""
    await cluster.add(160, "work:0.3")  # more than the other one can do before this one looks: each does once a second
    await cluster.busy()
    proxy = cluster.beats[0]
    for harm in (proxy.half_open, proxy.reset, lambda: setattr(proxy, "drop", lambda request: b"EVALSHA" in request)):
        cluster.fault()
        harm()
        await cluster.add(20, "work:0.1")
        await asyncio.sleep(4.0)
        proxy.heal()
        proxy.reset()
    await cluster.healed()
    assert cluster.number("reclaimed") == 0, f"{cluster.number('reclaimed')} jobs were taken from a living daemon"


async def partition(cluster: Cluster) -> None:
    """13: one of two daemons is cut off from Redis for two leases."""
    await cluster.add(60, "work:0.5")
    await cluster.busy()
    cluster.fault()
    held = cluster.holders(0)
    cluster.commands[0].blackhole()
    cluster.beats[0].blackhole()
    await eventually(lambda: not _unstarted_elsewhere(cluster, held), within=60)
    for proxy in (cluster.commands[0], cluster.beats[0]):
        proxy.heal()
        proxy.reset()
    await cluster.add(20)
    await cluster.healed()


# --- time ---


async def skewed_clocks(cluster: Cluster) -> None:
    """21: one daemon's wall clock is an hour ahead, the other's an hour behind: nothing is early, no lease ends."""
    cluster.fault()
    delayed = await cluster.add(20, delay=2.0)
    failing = await cluster.add(20, "fail")
    await cluster.healed()
    found = cluster.jobs()
    early = [job_id for job_id in delayed if found[job_id].starts[0].at - found[job_id].asked < 1.9]
    assert not early, f"{len(early)} delayed jobs ran early"
    for job_id in failing:
        first, second = found[job_id].starts
        assert 0.45 < second.at - first.at < 15, f"tried again after {second.at - first.at:.2f} s"
    assert cluster.number("reclaimed") == 0


async def jumping_clocks(cluster: Cluster) -> None:
    """21: both daemons' wall clocks jump an hour ahead, back two, and by a second: nothing early, no lease ends."""
    cluster.fault()
    delayed = await cluster.add(20, delay=6.0)
    for offset in (3600.0, -3600.0, 0.0, 1.0, 0.0, -1.0):
        cluster.jump.write_text(f"{offset}")
        await cluster.add(20, "work:0.1")
        await cluster.add(2, "fail", lane=f"jump{offset}")
        await asyncio.sleep(0.8)
    await cluster.healed()
    found = cluster.jobs()
    early = [job_id for job_id in delayed if found[job_id].starts[0].at - found[job_id].asked < 5.9]
    assert not early, f"{len(early)} delayed jobs ran early"
    assert cluster.number("reclaimed") == 0


async def redis_clock_jumps(cluster: Cluster) -> None:
    """21: only Redis's clock jumps, an hour ahead and back: no living daemon loses a job, no lane stalls.

    At the jump all slots are taken and nothing is to be claimed: a claim would renew the heartbeat that is past.
    """
    assert cluster.redis_clock
    await asyncio.sleep(7.0)  # before one lease of contact nobody takes another's jobs
    for offset in ("+3600", "+0", "+7200", "+0", "+3600", "-3600", "+0"):
        long = await cluster.add(40, "work:3")
        await eventually(lambda: _all_started(cluster, long), within=20)  # noqa: B023 - done before the next round
        cluster.fault()
        cluster.redis_clock.write_text(f"{offset}\n")
        await asyncio.sleep(2.0)
        for lane in range(10):
            await cluster.add(3, "work:0.05", lane=f"lane{lane}")
        await asyncio.sleep(2.0)
    await cluster.healed()
    assert cluster.number("reclaimed") == 0, f"{cluster.number('reclaimed')} jobs were taken from living daemons"


def _all_started(cluster: Cluster, ids: list[str]) -> bool:
    found = cluster.jobs()
    return all(job_id in found and found[job_id].starts for job_id in ids)


# --- load ---


async def big_neighbour(cluster: Cluster) -> None:
    """24: one lane holds 20,000 jobs; 500 lanes get one job each, and it starts within a second."""
    big = [
        Job(id=f"big{n:06d}", queue=QUEUE, payload=b"{}", priority=5, created_at=0, kind="work:0", lane="big")
        for n in range(20_000)
    ]
    await cluster.broker.enqueue(big)
    await asyncio.sleep(1)
    cluster.fault()
    small = [(await cluster.add(1, "work:0", lane=f"small{n}"))[0] for n in range(500)]
    await eventually(lambda: all(cluster.jobs()[job_id].over for job_id in small), within=60, every=0.2)
    found = cluster.jobs()
    waits = sorted(found[job_id].starts[0].at - (found[job_id].acked or 0) for job_id in small)
    assert waits[494] < 1.0, f"p99 of the small ones is {waits[494]:.2f} s"
    await cluster.broker.pause(QUEUE)  # the big lane's rest is not what this is about
    await eventually(lambda: not cluster.holders(0) and not cluster.holders(1), within=30, every=0.1)
    await cluster.redis.flushall()
    await cluster.broker.refill()


async def refused_by_provider(cluster: Cluster) -> None:
    """25: every lane is told to wait, again and again; after the release the rate of each lane holds."""
    cluster.storm.touch()
    for lane in range(40):
        await cluster.add(4, "limited", lane=f"lane{lane}")
    await asyncio.sleep(3)
    cluster.storm.unlink()
    cluster.fault()
    await cluster.healed()
    found = cluster.jobs()
    for job_ids in cluster.lanes.values():
        starts = sorted(found[job_id].effects[0].at for job_id in job_ids)
        for n in range(len(starts) - 2):  # 120 a minute, two at once: the third comes half a second after the first
            assert starts[n + 2] - starts[n] > 0.4, "a lane was faster than its rate after the release"


async def poison(cluster: Cluster) -> None:
    """26: jobs that kill their process, wedge it, raise, or cannot be read; three crashes each, the others flow.

    One killer after the other: a bystander that several hit at once may have its third crash by another than its first.
    """
    killers: list[str] = []
    await cluster.add(2, "raise")
    await cluster.redis.hset(key(QUEUE, "jobs"), "strange", b"\xff\xfe not ours")
    await cluster.redis.execute_command("XADD", key(QUEUE, "r:5"), "*", "i", "strange")
    nurse = asyncio.create_task(_nurse(cluster))
    for kind in ("exit", "segv", "spin"):
        killers += await cluster.add(1, kind)
        await cluster.add(20)
        cluster.fault()
        await cluster.healed()
    nurse.cancel()
    found = cluster.jobs()
    for job_id in killers:
        crashed = len(found[job_id].starts)
        assert crashed <= 3, f"a poison killed {crashed} processes"
    dead = [fact.job for fact in cluster.witness.look().facts if fact.what == "dead-poison"]
    assert set(killers) <= set(dead), f"dead of poison: {dead}"
    letters = await cluster.broker.stats(QUEUE)
    assert letters.dead == len(killers) + 2 + 1, f"{letters.dead} dead letters"


async def _nurse(cluster: Cluster) -> None:
    """What systemd does: starts what died, and kills what does not answer its watchdog.

    Silent is who says nothing while another speaks: on a machine that is too busy all of them are slow.
    """
    while True:
        await asyncio.sleep(0.2)
        for number, process in enumerate(cluster.processes):
            if process.returncode is not None:
                await cluster.start(number)
        silences = [_silence(cluster, number) for number in range(len(cluster.processes))]
        for number, silence in enumerate(silences):
            if silence > 4.0 and min(silences) < 1.0:
                await cluster.kill(number)


def _silence(cluster: Cluster, number: int) -> float:
    setup = cluster.setups[number]
    who = f"{setup.node}:{setup.boot}"
    facts = cluster.witness.look().facts
    newest = next((fact.at for fact in reversed(facts) if fact.who == who), time.monotonic())
    return time.monotonic() - newest


async def cancel_storm(cluster: Cluster) -> None:
    """29: 2,000 jobs, half of them canceled while they run, with pauses in between: canceled or run, never both."""
    jobs = await cluster.add(2000, "work:0.001")
    cluster.fault()
    for number, job_id in enumerate(random.sample(jobs, 1000)):
        if await cluster.broker.cancel(QUEUE, job_id):
            cluster.witness.tell("canceled", job_id)
        assert not await cluster.broker.cancel(QUEUE, job_id)
        if number % 100 == 0:
            await cluster.broker.pause(QUEUE)
            await cluster.broker.resume(QUEUE)
    await cluster.healed()


async def canceled_calls(cluster: Cluster) -> None:
    """30: client tasks are canceled at random awaits on a pool of two: no answer goes to another, nothing leaks."""
    client = connect(cluster.server.url, name="fuzz", connections=2)
    scripts = Scripts(client=client, metrics=cluster.metrics)
    cluster.fault()
    mixed: list[str] = []

    async def ask(number: int) -> None:
        name = f"lane-{number % 50}"
        await scripts.call("lane", QUEUE, name, "limit", number, "", "", 0, 1)
        answer = await client.echo(name)
        if answer != name.encode():
            mixed.append(name)

    before = len(asyncio.all_tasks())
    for round_ in range(60):
        tasks = [asyncio.create_task(ask(round_ * 20 + n)) for n in range(20)]
        await asyncio.sleep(random.random() * 0.004)
        for task in random.sample(tasks, 12):
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(answer, Exception):
                raise AssertionError(repr(answer))
    assert not mixed, f"{len(mixed)} answers went to another call"
    await client.aclose()
    assert len(asyncio.all_tasks()) <= before + 1
    clients = await cluster.redis.client_list()
    assert not [one for one in clients if one["name"] == "fuzz"], "connections leaked"
    for n in range(50):
        await cluster.broker.limit_lane(QUEUE, f"lane-{n}", per_minute=None, burst=None, cap=None)
    await cluster.add(50)


_RATED = {"lane_rate": 120.0, "lane_burst": 2}
SCENARIOS = [
    Scenario(number=1, name="kill -9 of one of two", run=kill_one, setup={"lease": 15.0}),
    Scenario(number=2, name="kill -9 every 1 to 3 s, 4 daemons", run=kill_loop, setup={"workers": 4}),
    Scenario(number=3, name="SIGSTOP for two leases, SIGCONT", run=zombie, zombies=True),
    Scenario(number=4, name="a blocked loop", run=blocked_loop, zombies=True),
    Scenario(number=5, name="SIGTERM with a stuck job", run=terminate, setup={"stuck": True}),
    Scenario(
        number=7,
        name="kill -9 Redis, AOF everysec",
        run=restart_with_file,
        setup={"redis": ["--appendonly", "yes"]},
    ),
    Scenario(
        number=7,
        name="kill -9 Redis, AOF always",
        run=restart_with_file,
        setup={"redis": ["--appendonly", "yes", "--appendfsync", "always"]},
    ),
    Scenario(number=11, name="DEBUG SLEEP, CLIENT PAUSE, slow Lua", run=slow_redis, setup={"lease": 15.0}),
    Scenario(number=12, name="answers dropped after they took effect", run=lost_answers, setup={"proxied": True}),
    Scenario(
        number=12,
        name="commands black, half-open, reset",
        run=cut_commands,
        setup={"proxied": True, "reaches": 1.0},
    ),
    Scenario(number=12, name="100 ms on the network", run=slow_network, setup={"proxied": True, "lease": 15.0}),
    Scenario(
        number=12,
        name="heartbeats black",
        run=cut_heartbeats,
        zombies=True,
        setup={"proxied": True, "reaches": 1.0},
    ),
    Scenario(
        number=12,
        name="heartbeats half-open, reset, unanswered",
        run=torn_heartbeats,
        setup={"proxied": True, "reaches": 1.0, "lease": 15.0},
    ),
    Scenario(
        number=13,
        name="one daemon without Redis for two leases",
        run=partition,
        zombies=True,
        setup={"proxied": True, "reaches": 1.0},
    ),
    Scenario(number=14, name="CLIENT KILL, SCRIPT FLUSH, XGROUP DESTROY", run=killed_connections),
    Scenario(number=17, name="maxmemory reached", run=full),
    Scenario(number=21, name="clocks an hour off", run=skewed_clocks, setup={"skews": (3600.0, -3600.0)}),
    Scenario(number=21, name="clocks jump by hours and seconds", run=jumping_clocks, setup={"lease": 15.0}),
    *(
        [
            Scenario(
                number=21,
                name="only Redis's clock jumps by an hour",
                run=redis_clock_jumps,
                setup={"lease": 6.0, "faketime": str(FAKETIME)},
            )
        ]
        if FAKETIME.exists()
        else []
    ),
    Scenario(number=24, name="1 lane of 20,000 beside 500 of 1", run=big_neighbour, setup={"lease": 15.0}),
    Scenario(number=25, name="429 on every lane, then release", run=refused_by_provider, setup=_RATED),
    Scenario(number=26, name="poison", run=poison, zombies=True),
    Scenario(number=29, name="1,000 cancels, pauses, resumes", run=cancel_storm),
    Scenario(number=30, name="calls canceled at random, pool of 2", run=canceled_calls),
]
