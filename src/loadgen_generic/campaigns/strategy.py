"""What a search is made of: which test comes next, what a finished one says, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError
from loadgen_generic.results.build import command_line
from loadgen_generic.results.result import Result
from loadgen_generic.supervisor import requested

__all__ = ["Answer", "Attempt", "Foreseeing", "Strategy", "to_paste"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next test.

    Attributes:
        full: of the length that the answer needs, rather than a short one.
        may_fail: its failure says something of what was tried, and the search goes on.
        stoppable: it may be ended once it cannot pass, where that can be seen; ``failed`` is told.
        about: what the strategy wants to know of it when it is finished.
    """

    config: BenchmarkConfig
    full: bool
    may_fail: bool = False
    stoppable: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes:
        run: the journal's entry of the test that stands for it.
        better: what a quiet machine might find, in words.
        changes: fields of the test's result that the answer says otherwise.
        document: the answer, as the journal keeps it.
    """

    run: Mapping[str, Any]
    better: str
    changes: dict[str, Any]
    document: dict[str, Any]


class Strategy(Protocol):
    """One kind of search. What it knows is in the journal, so it can go on after any end.

    Attributes:
        columns: of the table of trials.
    """

    columns: tuple[str, ...]

    def next(self, journal: Journal) -> Attempt | None:
        """None when the search is over."""
        ...

    def fix(self, result: Result) -> dict[str, Any]:
        """What the first trial settled, and all others keep."""
        ...

    def judge(self, result: Result, attempt: Attempt) -> dict[str, Any]:
        """What the journal says of a finished trial."""
        ...

    def failed(self, attempt: Attempt, error: LoadgenGenericError) -> dict[str, Any]:
        """What it says of one that failed and may."""
        ...

    def cells(self, runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
        """The table's rows."""
        ...

    def keep(self, journal: Journal) -> None:
        """After each trial: leave in the journal and beside it what is known so far."""
        ...

    def answer(self, journal: Journal) -> Answer: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A strategy whose tests can run at once, and end in any order."""

    def foreseen(self, journal: Journal, count: int) -> list[Attempt]:
        """The next test, then those that may come after it; empty when the search is over.

        Args:
            count: how many at most.
        """
        ...


def to_paste(config: BenchmarkConfig) -> str:
    """The command that repeats a test, in a directory of its own."""
    return command_line(requested(config), {"output_dir": ""})
