"""One configuration that may be tried, and how optuna spells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from loadgen_generic.campaigns.grammar import LayoutGrammar
from loadgen_generic.campaigns.space import Space
from loadgen_generic.campaigns.tuning.family import Choice, Family
from loadgen_generic.runners.layout import Layout
from loadgen_generic.wording import format_value

if TYPE_CHECKING:
    from loadgen_generic.campaigns.study import Choose

__all__ = ["Setting", "SettingGrammar"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A family, a layout, and choices beyond it: option and value, as the family has them."""

    family: str
    layout: Layout
    choices: tuple[tuple[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        layout = asdict(self.layout)
        return {"family": self.family, "layout": layout, "choices": dict(self.choices)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Setting:
        choices = tuple(content["choices"].items())
        return cls(content["family"], Layout(**content["layout"]), choices)

    def options(self, threaded: bool, batched: bool) -> dict[str, Any]:
        """Of a run, beyond those of the family.

        Args:
            threaded: the backend has threads inside one operator.
            batched: the batch is a choice of its own, and not as large as a query.
        """
        layout = self.layout
        options: dict[str, Any] = {"runner": layout.runner, "concurrency": layout.workers}
        if batched:
            options["batch_size"] = layout.batch_size
        if threaded:
            options["intra_op_threads"] = layout.intra_op_threads
        return options | dict(self.choices)

    def words(self) -> str:
        """Without its family."""
        chosen = (_in_words(option, value) for option, value in self.choices)
        return ", ".join([str(self.layout), *filter(None, chosen)])

    def __str__(self) -> str:
        return f"{self.family}: {self.words()}"


class SettingGrammar:
    """A :class:`~loadgen_generic.campaigns.study.Grammar` over several families.

    Args:
        spaces: the layouts of each family that is still searched.
    """

    def __init__(self, families: Mapping[str, Family], spaces: Mapping[str, Space]) -> None:
        self._families, self._spaces = families, spaces

    def walk(self, choose: Choose) -> Setting:
        from optuna.distributions import CategoricalDistribution

        name: str = choose("family", CategoricalDistribution(tuple(self._spaces)))
        layout = LayoutGrammar(self._spaces[name], f"{name}.").walk(choose)
        choices = tuple(
            (
                each.option,
                choose(f"{name}.{each.option}", CategoricalDistribution(each.values))
                if _matters(each, layout)
                else each.values[0],
            )
            for each in self._families[name].choices
        )
        return Setting(name, layout, choices)

    def values(self, each: Setting) -> Mapping[str, Any]:
        prefix = f"{each.family}."
        layout = LayoutGrammar(self._spaces[each.family], prefix).values(each.layout)
        choices = {prefix + option: value for option, value in each.choices}
        return {"family": each.family, **layout, **choices}

    def read(self, params: Mapping[str, Any]) -> Setting | None:
        name = params.get("family", "")
        if name not in self._spaces:
            return None
        layout = LayoutGrammar(self._spaces[name], f"{name}.").read(params)
        if layout is None:
            return None
        try:
            choices = tuple(
                (
                    each.option,
                    params[f"{name}.{each.option}"] if _matters(each, layout) else each.values[0],
                )
                for each in self._families[name].choices
            )
        except KeyError:
            return None
        return Setting(name, layout, choices)

    def __iter__(self) -> Iterator[Setting]:
        for name, space in self._spaces.items():
            for layout in space:
                open_ = (
                    each.values if _matters(each, layout) else each.values[:1]
                    for each in self._families[name].choices
                )
                options = [each.option for each in self._families[name].choices]
                for values in product(*open_):
                    yield Setting(name, layout, tuple(zip(options, values, strict=True)))


def _in_words(option: str, value: Any) -> str:
    """A choice; empty for what a run does unasked."""
    if option == "batch_timeout_us":
        return f"waits {format_value(1000 * value, 'ns')}" if value else ""
    return "" if value == "sequential" else f"{value} execution"


def _matters(choice: Choice, layout: Layout) -> bool:
    """The inline runner answers what LoadGen hands it at once."""
    return choice.option != "batch_timeout_us" or layout.runner != "inline"
