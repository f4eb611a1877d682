"""How a layout is spelled as optuna's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loadgen_generic.campaigns.space import Space
from loadgen_generic.runners.layout import Layout

if TYPE_CHECKING:
    from loadgen_generic.campaigns.study import Choose

__all__ = ["LayoutGrammar"]


class LayoutGrammar:
    """A :class:`~loadgen_generic.campaigns.study.Grammar`.

    Args:
        prefix: of the parameters' names, where the space of layouts is one of several.
    """

    def __init__(self, space: Space, prefix: str = "") -> None:
        self._space, self._prefix = space, prefix

    def walk(self, choose: Choose) -> Layout:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        def pick(name: str, fewest: int, most: int, log: bool = False) -> int:
            return int(choose(self._prefix + name, IntDistribution(fewest, most, log=log)))

        space = self._space
        runner: str = choose(f"{self._prefix}runner", CategoricalDistribution(space.runners))
        workers = pick("workers", *space.workers(runner), log=True)
        threads = pick("intra_op_threads", *space.threads(workers), log=True)
        if space.batch_size:
            size = pick("batch_size", space.batch_size, space.batch_size)
        else:
            size = 2 ** pick("log2_batch_size", 0, space.doublings(workers))
        return Layout(runner, workers, threads, size)

    def values(self, each: Layout) -> Mapping[str, Any]:
        values = {
            "runner": each.runner,
            "workers": each.workers,
            "intra_op_threads": each.intra_op_threads,
            "batch_size": each.batch_size,
            "log2_batch_size": each.batch_size.bit_length() - 1,
        }
        return {self._prefix + name: value for name, value in values.items()}

    def read(self, params: Mapping[str, Any]) -> Layout | None:
        def known(name: str) -> Any:
            return params[self._prefix + name]

        try:
            size = params.get(f"{self._prefix}batch_size") or 2 ** known("log2_batch_size")
            return Layout(known("runner"), known("workers"), known("intra_op_threads"), size)
        except KeyError:
            return None
