"""Where the tests of a campaign run: here, one after the other, or over a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.campaigns.overload import lookout_for
from loadgen_generic.campaigns.reported import report_missing, run
from loadgen_generic.campaigns.spreading.crew import Crew
from loadgen_generic.campaigns.spreading.places import Places
from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.child import Observer
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.results.result import Result

__all__ = ["Stage", "nodes_in_words", "stage_for", "with_nodes"]

Rows = Sequence[tuple[str, ...]]


class Stage(Protocol):
    """Runs tests.

    Attributes:
        width: how many can be under way at once.
    """

    @property
    def width(self) -> int: ...

    def run(
        self, wanted: Sequence[Attempt], directory: Path, observer: Observer
    ) -> tuple[Attempt, Result]:
        """Have tests under way, and wait for the first that ends, whether still wanted or not.

        Args:
            wanted: the most important one first; as many as there is room for are begun. The same
                one twice is two tests.
            directory: for the run that ends first.

        Raises:
            RequestError, RunError, InterruptedRunError: as a run does.
        """
        ...


class _Here:
    width = 1

    def run(
        self, wanted: Sequence[Attempt], directory: Path, observer: Observer
    ) -> tuple[Attempt, Result]:
        attempt = wanted[0]
        lookout = lookout_for(attempt.config) if attempt.stoppable else None
        return attempt, run(attempt.config, observer, directory, lookout)


@contextmanager
def stage_for(
    config: BenchmarkConfig, journal: Journal, observer: Observer, at_once: bool = True
) -> Iterator[Stage]:
    """The stage that a request asks for; at its end, what is under way there ends as well.

    Args:
        at_once: whether the tests can run at once.

    Raises:
        RequestError, RunError: the cluster, or a node, cannot take the tests.
    """
    if config.trials_on == "here":
        yield _Here()
        return
    with _nodes_for(config) as places:
        yield Crew(places, config, observer.note, at_once)
    # Only now: making a page takes a processor that a test may have had.
    report_missing((journal.directory / each["directory"] for each in journal.runs), observer)


def _nodes_for(config: BenchmarkConfig) -> AbstractContextManager[Places]:
    from loadgen_generic.campaigns.spreading.on_ray import nodes_of_ray

    return nodes_of_ray(config.ray_address)


def with_nodes(
    config: BenchmarkConfig, columns: tuple[str, ...], rows: Rows, runs: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, ...], Rows]:
    """A table of runs with the node of each, where they are spread."""
    if config.trials_on == "here":
        return columns, rows
    pairs = zip(rows, runs, strict=True)
    named = [(row[0], str(each.get("node", "")), *row[1:]) for row, each in pairs]
    return (columns[0], "node", *columns[1:]), named


def nodes_in_words(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note that says which nodes had how many of the runs; none where they ran here."""
    names = [each["node"] for each in runs if "node" in each]
    if not names:
        return []
    told = ", ".join(f"{name} ({names.count(name)})" for name in dict.fromkeys(names))
    return [f"the {len(names)} tests were spread over nodes of a Ray cluster: {told}"]
