"""Rounds over cases: each case once a round, one after another, so that whatever disturbs the
machine meets all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab import Case, Lab, UnavailableError
from table import Record

__all__ = ["Campaign"]

# A setting this much behind the best of its field after one round cannot win.
_NEAR_BEST = 0.85


@dataclass
class Campaign:
    """Rounds over cases, and what they found.

    Attributes:
        records: what is known of cases already, by key; rounds that are there are not run again.
        after: called after every measurement.
    """

    lab: Lab
    cases: Sequence[Case]
    rounds: int
    records: dict[str, Record] = field(default_factory=dict)
    after: Callable[[], None] = lambda: None

    def run(self) -> dict[str, Record]:
        """Every round that is missing.

        Raises:
            KeyboardInterrupt: ``records`` has what was measured until then.
        """
        for case in self.cases:
            self.records.setdefault(case.key, Record())
        for number in range(1, self.rounds + 1):
            for position, case in enumerate(self.cases, 1):
                record = self.records[case.key]
                if record.unavailable or record.dropped or len(record.rounds) >= number:
                    continue
                where = f"round {number}/{self.rounds}, {position}/{len(self.cases)}"
                print(f"{where}: {case.key}", file=sys.stderr, flush=True)
                try:
                    record.rounds.append(case.measure(self.lab))
                except UnavailableError as error:
                    record.unavailable = str(error)
                    print(f"  cannot run: {error}", file=sys.stderr)
                self.after()
            if number == 1:
                self._drop()
        return self.records

    def _drop(self) -> None:
        """Leave the settings behind that the first round showed to be far from the best."""
        fields: dict[str, list[tuple[Case, float]]] = {}
        for case in self.cases:
            if case.field and self.records[case.key].rounds:
                value = self.records[case.key].median(case.figure)
                merit = 1 / value if case.lower else value
                fields.setdefault(case.field, []).append((case, merit))
        for members in fields.values():
            best = max(merit for _, merit in members)
            for case, merit in members:
                self.records[case.key].dropped = merit < _NEAR_BEST * best
