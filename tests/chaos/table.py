"""The table of `make chaos`: one line for each fault, and the same as rows for build/chaos.json."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.rows import Row, row


@dataclass(frozen=True, kw_only=True)
class Line:
    """A fault and what its runs showed. `more`: figures of its own; `wrong`: what broke, in words."""

    fault: int  #: its number in the catalogue
    name: str
    lost: Sequence[int]  #: of each run
    duplicated: Sequence[int]
    recoveries: Sequence[float]  #: seconds, of all runs
    more: Sequence[Row] = ()
    wrong: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return not any(self.lost) and not self.wrong

    def rows(self) -> list[Row]:
        rows = [
            row(f"{self.name}: lost", self.lost, "jobs"),
            row(f"{self.name}: duplicated", self.duplicated, "jobs"),
        ]
        if self.recoveries:
            p99 = [percentile(self.recoveries, 0.99)]
            rows += [row(f"{self.name}: recovery", self.recoveries, "s"), row(f"{self.name}: recovery p99", p99, "s")]
        return [*rows, *self.more]

    def __str__(self) -> str:
        p50, p99 = (f"{percentile(self.recoveries, part):.2f}" if self.recoveries else "-" for part in (0.5, 0.99))
        verdict = "ok" if self.ok else f"BROKEN {'; '.join(self.wrong)}"
        counts = f"{len(self.lost):>4} {sum(self.lost):>5} {sum(self.duplicated):>10}"
        return f"{self.fault:>5}  {self.name:<46} {counts}   {p50:>6} / {p99:<6} {verdict}"


HEAD = f"fault  {'':<46} runs  lost duplicated   recovery p50 / p99, s"


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
