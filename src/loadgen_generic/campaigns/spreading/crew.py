"""Tests that run on the nodes of a cluster, as many at once as there are nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loadgen_generic.campaigns.spreading.homecoming import bring_home
from loadgen_generic.campaigns.spreading.places import LostNodeError, Places, Ticket
from loadgen_generic.campaigns.spreading.readiness import Ready, failure_on, make_ready
from loadgen_generic.campaigns.spreading.there import Told, trial
from loadgen_generic.campaigns.strategy import Attempt
from loadgen_generic.child import Observer
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, RequestError, RunError
from loadgen_generic.machine import available_cores
from loadgen_generic.results.result import Result

__all__ = ["Crew"]


class Crew:
    """A :class:`~loadgen_generic.campaigns.spreading.stage.Stage` of several nodes.

    Args:
        config: of the campaign.
        note: told over which nodes the tests go, and of nodes that are lost.
        at_once: whether several tests can be under way; else one node has them all, until it is
            lost.

    Raises:
        RequestError, RunError: as :func:`make_ready` does; and where tests that follow from each
            other are planned for other cores than the nodes have.
    """

    def __init__(
        self, places: Places, config: BenchmarkConfig, note: Callable[[str], None], at_once: bool
    ) -> None:
        self._places, self._note, self._at_once = places, note, at_once
        self._ready, self._paths = make_ready(places, config, note)
        self._under_way: dict[Ticket, tuple[Attempt, Ready]] = {}
        names = ", ".join(each.name for each in self._ready)
        if at_once:
            note(f"the tests go to {len(self._ready)} node(s), one at a time on each: {names}")
            return
        first = self._ready[0]
        if first.cores != available_cores():
            raise RequestError(
                f"this search plans its tests for the {available_cores()} cores that it finds here, "
                f"and node {first.name} has {first.cores}.",
                flag="trials_on",
                value="ray",
                remedy="Run the command on a node, or leave it out.",
            )
        note(
            f"each test of this search follows from those before, so they go to one node at a time, "
            f"first to {first.name}"
        )

    @property
    def width(self) -> int:
        return len(self._ready) if self._at_once else 1

    def run(
        self, wanted: Sequence[Attempt], directory: Path, observer: Observer
    ) -> tuple[Attempt, Result]:
        """See :meth:`Stage.run`. What was wanted before and is no longer runs on."""
        while True:
            self._begin(wanted)
            ticket = self._places.first(list(self._under_way))
            attempt, ready = self._under_way.pop(ticket)
            try:
                told: Told = self._places.outcome(ticket)
            except LostNodeError as error:
                self._lose(ready, str(error))
                continue
            except Exception as error:
                raise failure_on(ready.name, error, "cannot run a test") from error
            if told.exit_code == InterruptedRunError.exit_code:
                self._lose(ready, "it was told to stop")
                continue
            for text in told.notes:
                observer.note(text)
            moved = self._moved(ready)
            return attempt, bring_home(told, attempt.config, ready.name, moved, directory)

    def _begin(self, wanted: Sequence[Attempt]) -> None:
        """Give the tests that nobody has to nodes that have none, as far as these go."""
        given = [attempt for attempt, _ in self._under_way.values()]
        busy = {ready.node for _, ready in self._under_way.values()}
        idle = [ready for ready in self._ready if ready.node not in busy]
        for attempt in wanted:
            if attempt in given:
                given.remove(attempt)
            elif idle:
                ready = idle.pop(0)
                ticket = self._places.start(
                    ready.node, trial, self._options(attempt, ready), ready.node.cpus, whole=True
                )
                self._under_way[ticket] = attempt, ready

    def _options(self, attempt: Attempt, ready: Ready) -> dict[str, object]:
        """Those that were given, with the paths of the node."""
        given: dict[str, object] = attempt.config.model_dump(exclude_unset=True)
        paths = self._paths | ({"model_path": ready.model} if ready.model else {})
        return given | {name: path for name, path in paths.items() if name in given}

    def _moved(self, ready: Ready) -> dict[str, str]:
        here = self._paths.get("model_path", "")
        return {ready.model: here} if ready.model not in ("", here) else {}

    def _lose(self, lost: Ready, why: str) -> None:
        self._ready.remove(lost)
        if not self._ready:
            raise RunError(f"the last node, {lost.name}, is lost ({why}); see `ray status`")
        self._note(f"node {lost.name} is lost, and its test goes to another ({why})")
