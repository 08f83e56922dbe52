"""Redis: it answers, is new enough, keeps what it has, throws nothing away, and has our time."""

import subprocess
import time

from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.config import Config
from zapd.errors import ConfigError, Unavailable
from zapd.jobs.embedded import EmbeddedRedis, find_binary
from zapd.jobs.server import Facts, facts_of

OLDEST = (6, 2)  #: version
SKEW = 1.0  #: seconds between its clock and ours


async def examined(config: Config) -> list[Finding]:
    """The findings about it. An embedded one runs only while the daemon does."""
    url = config.redis.server_url
    if url != "embedded":
        return await _of_server(url, "See that [redis] url names a Redis that runs, and its password.")
    folder, binary = config.state.dir / "redis", config.redis.binary or None
    try:
        path = find_binary(binary)
    except ConfigError as error:
        return [wrong("Redis", str(error), "Install redis-server, or name one in [redis] binary.")]
    if not (folder / "redis.sock").exists():
        return [note("Redis", f"the embedded one is not running ({_version_of(path)})", "It runs with the daemon.")]
    url = EmbeddedRedis(directory=folder, binary=binary).url
    return await _of_server(url, f"`zapd run` starts it; its log is {folder / 'redis.log'}.")


async def _of_server(url: str, mend: str) -> list[Finding]:
    before = time.time()
    try:
        facts = await facts_of(url)
    except Unavailable as error:
        return [wrong("Redis", f"it does not answer: {error}", mend)]
    return [*_version(facts), *_memory(facts), *_kept(facts), *_time(facts, before)]


def _version(facts: Facts) -> list[Finding]:
    numbers = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return [wrong("Redis", f"version {facts.version} is too old", "zapd needs Redis 6.2 or newer, or Valkey.")]
    return [ok("Redis", f"version {facts.version} answers")]


def _memory(facts: Facts) -> list[Finding]:
    check, used = "Redis memory", f"{facts.used / 1024**2:.0f} MiB in use"
    if facts.policy != "noeviction":
        text = f"maxmemory-policy is {facts.policy}: it may throw jobs away"
        return [wrong(check, text, "CONFIG SET maxmemory-policy noeviction, and in redis.conf.")]
    if facts.limit and facts.used > facts.limit * 0.9:
        text = f"{used} of {facts.limit / 1024**2:.0f} MiB"
        return [
            wrong(check, text, "Give it more maxmemory: a full Redis takes no jobs (what is accepted stays in SQL).")
        ]
    return [ok(check, f"{used}, and nothing is evicted")]


def _kept(facts: Facts) -> list[Finding]:
    if facts.aof_broken:
        return [wrong("Redis persistence", "its last write to disk failed", "See its log, and that its disk has room.")]
    if not facts.aof:
        text = "it has no append-only file: after a crash of Redis all jobs come back from SQL, which takes a while"
        return [note("Redis persistence", text, "CONFIG SET appendonly yes, and in redis.conf.")]
    return [ok("Redis persistence", "it writes an append-only file")]


def _time(facts: Facts, before: float) -> list[Finding]:
    """The scripts compare due times, which are ours, with its clock."""
    skew = facts.time - (before + time.time()) / 2
    text = f"Redis' clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if abs(skew) > SKEW:
        return [
            wrong("clock", text, "Set both clocks (chrony or systemd-timesyncd): delayed jobs go at the wrong time.")
        ]
    return [ok("clock", text)]


def _version_of(binary: str) -> str:
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return " ".join(word for word in done.stdout.split() if word.startswith("v=")) or binary
