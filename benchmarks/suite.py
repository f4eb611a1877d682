"""What a row of the table is, and which cases it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lab import Case

__all__ = ["Figure", "Row", "Suite"]

Judge = Literal["ratio", "excess", "value", "least"]


@dataclass(frozen=True)
class Figure:
    """One figure of one case."""

    case: str
    name: str


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        key: what ``--only`` chooses by.
        ours: what is judged.
        against: what it is compared with; the best of them counts; empty where the limit is
            absolute.
        judge: ``ratio`` is how many times better ours is; ``excess`` is ours minus the other;
            ``value`` is ours alone. These two must be at most ``wanted``; ``least`` is ours
            alone as well, and must be at least that.
        wanted: None for a row that only shows.
        lower: less is better.
        or_ours: other figures of ours; the best of them and ``ours`` is judged.
        paired: what is judged is the median of the rounds' own ratios (or differences), since
            the two sides of a round ran one after the other.
    """

    key: str
    ours: Figure
    against: tuple[Figure, ...]
    unit: str
    judge: Judge = "ratio"
    wanted: float | None = None
    lower: bool = False
    or_ours: tuple[Figure, ...] = ()
    paired: bool = False

    @property
    def cases(self) -> set[str]:
        """Keys of the cases that the row needs."""
        return {figure.case for figure in (self.ours, *self.or_ours, *self.against)}


@dataclass
class Suite:
    """Cases by key, and the rows that refer to them."""

    cases: dict[str, Case] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def add(self, *cases: Case) -> None:
        self.cases |= {case.key: case for case in cases}

    def compare(
        self,
        key: str,
        mine: Case,
        others: Case | list[Case],
        figure: str,
        unit: str,
        wanted: float | None,
        *,
        lower: bool = False,
        judge: Judge = "ratio",
    ) -> None:
        listed = others if isinstance(others, list) else [others]
        self.add(mine, *listed)
        against = tuple(Figure(case.key, figure) for case in listed)
        self.rows.append(Row(key, Figure(mine.key, figure), against, unit, judge, wanted, lower))
