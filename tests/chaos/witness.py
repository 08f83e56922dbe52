"""A file that every process of a chaos run appends to, outside Redis: what was tried, acknowledged, started, done.

One line a fact: `monotonic-ns fact job who number`. An append of one line is whole, and the kernel has it when the
process is killed. The clock is the machine's, the same for all processes.
"""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Fact:
    """One line. `at` in seconds. `number` is the attempt of a start, 0 elsewhere unless said."""

    at: float
    what: str
    job: str
    who: str
    number: int


@dataclass
class Life:
    """What the facts say of one job. Times in seconds; `over`: its end was accepted by Redis."""

    asked: float = 0.0
    acked: float | None = None
    canceled: bool = False
    starts: list[Fact] = field(default_factory=list)
    effects: list[Fact] = field(default_factory=list)
    ends: list[Fact] = field(default_factory=list)
    over: list[Fact] = field(default_factory=list)

    def learn(self, fact: Fact) -> None:
        match fact.what:
            case "attempt":
                self.asked = fact.at
            case "ack":
                self.acked = fact.at
            case "canceled":
                self.canceled = True
            case "start":
                self.starts.append(fact)
            case "effect":
                self.effects.append(fact)
            case "end":
                self.ends.append(fact)
            case "over":
                self.over.append(fact)
            case _:
                pass


class Witness:
    """Writes facts, and reads what is new."""

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        self._who = who
        self._read = 0
        self._rest = b""
        self.facts: list[Fact] = []  #: in the order they were written
        self.lives: defaultdict[str, Life] = defaultdict(Life)  #: of each job
        self.newest: dict[tuple[str, str], int] = {}  #: (what, who) → the newest number that is of no job

    def tell(self, what: str, job: str, number: int = 0) -> None:
        os.write(self._file, f"{time.monotonic_ns()} {what} {job} {self._who} {number}\n".encode())

    def look(self) -> "Witness":
        """Read on."""
        while piece := os.pread(self._file, 1 << 20, self._read):
            self._read += len(piece)
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                at, what, job, who, number = line.decode().split(" ")
                self._learn(Fact(int(at) / 1e9, what, job, who, int(number)))
        return self

    def _learn(self, fact: Fact) -> None:
        self.facts.append(fact)
        if fact.job == "-":
            self.newest[fact.what, fact.who] = fact.number
        else:
            self.lives[fact.job].learn(fact)

    def close(self) -> None:
        os.close(self._file)
