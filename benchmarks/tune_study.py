"""One case from its grid to the verdict: the grid, the searches, and both sides' best in turn."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from campaign import Campaign
from lab import Case, Lab, Measured, UnavailableError
from suite import Figure, Row
from table import Record, Verdict, judge
from tune_cases import FIGURES, Setting, TuneCase, measurement
from tune_search import Tuned, search

from loadgen_generic.campaigns.tuning.story import DEFAULT_BUDGET_SEC
from loadgen_generic.wording import format_measured

__all__ = ["Study"]

_FINALISTS = 3
_TRIES = 2  # of a final run, since without one of them there is no verdict
_OF_GRID = 0.25
_LEAST_BUDGET_SEC = 60.0
# Of a quarter of the grid's time, for what the command does before and after its search.
_BESIDES = 0.05
_UNDISTURBED = 0.95  # of the quiet search's winner, for that of the search beside a busy core


@dataclass
class Study:
    """What is known of a case.

    Attributes:
        settings: its grid.
        records: of the grid's settings and of the final rounds, by key.
        searches: ``quiet``, ``again`` and ``busy``, as far as they were asked for and ended well.
        failed: why others did not.
        save: called after every measurement.
    """

    case: TuneCase
    settings: list[Setting]
    save: Callable[[], None] = lambda: None
    records: dict[str, Record] = field(default_factory=dict)
    searches: dict[str, Tuned] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run_grid(self, lab: Lab) -> None:
        """Every setting once, but for those that are known; one that fails is passed over."""
        cases = [measurement(self.case, self.key(each), each.flags()) for each in self.settings]
        Campaign(lab, cases, 1, self.records, self.save).run()
        self._tell(self.grid_in_words())

    def run_search(self, lab: Lab, kind: str, budget_sec: float = 0.0) -> None:
        """One search: ``quiet``, ``again`` (the same once more) or ``busy``.

        Args:
            budget_sec: 0 for what the case allows.
        """
        # Nothing is asked of the time beside a busy core.
        usual_sec = DEFAULT_BUDGET_SEC if kind == "busy" else self.budget_sec()
        budget_sec = budget_sec or usual_sec
        self._tell(f"tune, {kind}: {budget_sec:.0f} s")
        try:
            found = search(lab, self.case, budget_sec, busy=kind == "busy")
        except UnavailableError as error:
            self.failed[kind] = str(error)
            self._tell(f"tune, {kind}, failed: {error}")
        else:
            self.searches[kind] = found
            self._tell(self.search_in_words(kind))
        self.save()

    def run_finals(self, lab: Lab, rounds: int) -> None:
        """The best of both sides in turn; without rounds, the figures as they were found."""
        names = {self.final(each.name): each for each in self._rivals()}
        if rounds:
            cases = [
                measurement(self.case, key, each.flags(), _TRIES) for key, each in names.items()
            ]
            Campaign(lab, [*cases, *self._winners()], rounds, self.records, self.save).run()
            return
        for key, each in names.items():
            self.records[key] = self.records[self.key(each)]
        if "quiet" in self.searches:
            self.records[self.final("tuned")] = self.searches["quiet"].confirmed(self.case)
        self.save()

    def verdicts(self) -> list[Verdict]:
        known = {**self.records, **self._of_searches()}
        return [
            judge(row, {key: known.get(key, Record()) for key in row.cases}) for row in self.rows()
        ]

    def rows(self) -> Iterator[Row]:
        """As far as searches were asked for."""
        asked = {*self.searches, *self.failed}
        if "quiet" not in asked:
            return
        name, (figure, unit) = self.case.name, FIGURES[self.case.scenario]
        winner = Figure(self.final("tuned"), figure)
        best = tuple(Figure(self.final(each.name), figure) for each in self.best())
        wanted = self.case.wanted
        yield Row(f"{name}/winner", winner, best, unit, wanted=wanted, paired=True)
        if self.case.over_float32:
            slow = tuple(Figure(self.final(each.name), figure) for each in self.best("float32"))
            wanted = self.case.over_float32
            yield Row(f"{name}/over-float32", winner, slow, unit, wanted=wanted, paired=True)
        most = self.case.most_sec
        took = Figure(f"{name}/tune/quiet", "seconds" if most else "of_grid")
        yield Row(f"{name}/time", took, (), "s" if most else "of grid", "value", most or _OF_GRID)
        if "again" in asked:
            again = f"{name}/tune/again"
            apart = Figure(again, "apart")
            yield Row(f"{name}/twice", apart, (), "apart", "value", self._spread())
            yield Row(f"{name}/twice-gain", Figure(again, "gains_apart"), (), "apart", "value")
        if "busy" in asked:
            busy = Figure(self.final("tuned-busy"), figure)
            wanted = _UNDISTURBED
            yield Row(f"{name}/busy", busy, (winner,), unit, wanted=wanted, paired=True)
            warned = Figure(f"{name}/tune/busy", "warnings")
            yield Row(f"{name}/warned", warned, (), "warnings", "least", 1)

    def best(self, precision: str = "") -> list[Setting]:
        """The best few of the grid, or of a precision in it, whose answers are right."""
        figure = FIGURES[self.case.scenario][0]
        found = [each for each in self._ran() if each.family.endswith(precision)]
        found.sort(key=lambda each: self.records[self.key(each)].median(figure), reverse=True)
        return found[:_FINALISTS]

    def grid_sec(self) -> float:
        """What the grid took: the settings that ran, and whose answers are right."""
        each = (self.records[self.key(setting)].rounds[0] for setting in self._ran())
        return float(sum(found.detail["wall_sec"] for found in each))

    def budget_sec(self) -> float:
        """What a search may take by its own clock."""
        if self.case.most_sec:
            return self.case.most_sec
        return max(_LEAST_BUDGET_SEC, _OF_GRID * self.grid_sec() * (1 - _BESIDES))

    def grid_in_words(self) -> str:
        figure, unit = FIGURES[self.case.scenario]
        text = (
            f"grid: {len(self._ran())} of {len(self.settings)} settings in {self.grid_sec():.0f} s"
        )
        text += f", batches {' '.join(map(str, self.case.batches))}"
        if self._refused():
            text += f", without {', '.join(self._refused())}, whose answers are wrong"
        if self.best():
            first = self.best()[0]
            value = self.records[self.key(first)].median(figure)
            text += f", best {first.name}: {format_measured(value, unit)}"
        return text

    def search_in_words(self, kind: str) -> str:
        found = self.searches[kind]
        winner, unit = found.winner, FIGURES[self.case.scenario][1]
        value = format_measured(winner["value"], unit) if winner["value"] else "no value"
        return (
            f"tune, {kind}: {found.seconds:.0f} s, {winner['family']}: {winner['words']}: {value}, "
            f"noise {100 * found.answer['noise']:.1f} %, "
            f"spread {100 * found.answer['spread']:.1f} %, {found.warnings} warning(s)"
        )

    def key(self, setting: Setting) -> str:
        """Of a setting in the grid."""
        return f"{self.case.name}/grid/{setting.name}"

    def final(self, name: str) -> str:
        """Of a setting in the final rounds."""
        return f"{self.case.name}/final/{name}"

    def _ran(self) -> list[Setting]:
        refused = self._refused()
        return [
            each
            for each in self.settings
            if each.family not in refused and self.records.get(self.key(each), Record()).rounds
        ]

    def _refused(self) -> list[str]:
        """Families of the grid whose answers the search found wrong."""
        wrong = self.searches["quiet"].refused if "quiet" in self.searches else ()
        return [each for each in self.case.families if each in wrong]

    def _rivals(self) -> list[Setting]:
        slow = self.best("float32") if self.case.over_float32 else []
        return list(dict.fromkeys([*self.best(), *slow]))

    def _winners(self) -> Iterator[Case]:
        for kind, name in (("quiet", "tuned"), ("busy", "tuned-busy")):
            if kind in self.searches:
                flags = {"config": self.searches[kind].config}
                yield measurement(self.case, self.final(name), flags, _TRIES)

    def _of_searches(self) -> dict[str, Record]:
        """What the searches themselves are judged by."""
        name, quiet = self.case.name, self.searches.get("quiet")
        known = {
            f"{name}/tune/{kind}": Record(unavailable=why) for kind, why in self.failed.items()
        }
        for kind, found in self.searches.items():
            figures = {"seconds": found.seconds, "warnings": float(found.warnings)}
            if self.grid_sec():
                figures["of_grid"] = found.seconds / self.grid_sec()
            if kind == "again" and quiet is not None:
                pairs = {
                    "apart": (quiet.winner["value"], found.winner["value"]),
                    "gains_apart": (quiet.answer["gain"], found.answer["gain"]),
                }
                figures |= {key: _apart(*pair) for key, pair in pairs.items() if all(pair)}
            known[f"{name}/tune/{kind}"] = Record([Measured(figures, found.command)])
        for kind, final in (("quiet", "tuned"), ("busy", "tuned-busy")):
            if kind in self.failed:
                known[self.final(final)] = Record(unavailable=self.failed[kind])
        return known

    def _spread(self) -> float | None:
        """By which two searches' figures may lie apart: the larger of what they state."""
        both = [self.searches[kind] for kind in ("quiet", "again") if kind in self.searches]
        return max(found.answer["spread"] for found in both) if len(both) == 2 else None

    def _tell(self, what: str) -> None:
        print(f"{self.case.name}: {what}", file=sys.stderr, flush=True)


def _apart(one: float, other: float) -> float:
    """As a share of their mean."""
    return abs(one - other) / statistics.mean((one, other))
