"""What optuna proposes to try next. Its study lies in an SQLite file beside the journal.

The journal is what counts. Before each proposal the study is made to agree with it, so a trial
that was killed is marked as failed, and a study that was deleted is made anew.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.campaigns.space import Space
from loadgen_generic.errors import RequestError
from loadgen_generic.runners.layout import Layout

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        IntDistribution,
    )
    from optuna.trial import FrozenTrial

    Choose = Callable[[str, CategoricalDistribution | IntDistribution], Any]

__all__ = ["LayoutStudy", "require_optuna"]

_NAME = "layouts"
# Trials before what they showed is made use of; those of the rules are among them.
_STARTUP = 4
# A layout that takes the machine down with it must not stop the search for ever.
_MOST_KILLS = 2
_SEEDS = 2**32


def require_optuna() -> None:
    """Look for it, before anything is written, and have it print errors alone.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise RequestError(
            "a search for the best layout needs optuna, which is not installed.",
            flag="mode",
            value="find_peak",
            remedy='Install it with pip install "loadgen-generic[search]", or leave --mode out: '
            "the layout is calibrated before the test.",
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class LayoutStudy:
    """The study of one search.

    Args:
        path: of the SQLite file.
        seed: the same trials with the same values lead to the same proposals.
        maximize: whether large values are good ones.

    Raises:
        RequestError: the file is no study.
    """

    def __init__(self, path: Path, seed: int, maximize: bool) -> None:
        self._seed = seed
        self._study = _open(path, maximize)

    def follow(self, space: Space, measured: Mapping[Layout, float | None]) -> None:
        """Make the study agree with the finished trials; a value of None is a failed one."""
        from optuna.trial import TrialState, create_trial

        known = set()
        for trial in self._trials():
            layout = _layout(trial.params)
            value = measured.get(layout) if layout else None
            if trial.state.is_finished():
                if trial.state != TrialState.COMPLETE:
                    continue
            elif value is None:
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            else:
                self._study.tell(trial.number, value)
            known.add(layout)
        for layout, value in measured.items():
            if value is not None and layout not in known:
                params, ranges = _described(space, layout)
                self._study.add_trial(
                    create_trial(params=params, distributions=ranges, value=value)
                )

    def begin(self, space: Space, layout: Layout) -> None:
        """Note a trial that was chosen without a proposal."""
        from optuna.trial import TrialState, create_trial

        params, ranges = _described(space, layout)
        self._study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=ranges)
        )

    def propose(self, space: Space, tried: Collection[Layout]) -> Layout:
        """What looks best; it may have been tried before."""
        from optuna.samplers import TPESampler

        # Seeded anew each time: a search that was killed proposes again what was under way.
        seed = (self._seed + len(tried)) % _SEEDS
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=_STARTUP)
        return _walk(space, _suggest(self._study.ask()))

    def lost(self) -> set[Layout]:
        """Layouts under way whenever the command was killed, several times."""
        from optuna.trial import TrialState

        failed = Counter(
            _layout(trial.params) for trial in self._trials() if trial.state == TrialState.FAIL
        )
        return {layout for layout, kills in failed.items() if layout and kills >= _MOST_KILLS}

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)


def _walk(space: Space, choose: Choose) -> Layout:
    """Make a layout by choices, each within what the ones before it leave open."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    runner: str = choose("runner", CategoricalDistribution(space.runners))
    workers: int = choose("workers", IntDistribution(*space.workers(runner), log=True))
    threads: int = choose("intra_op_threads", IntDistribution(*space.threads(workers), log=True))
    if space.batch_size:
        size: int = choose("batch_size", IntDistribution(space.batch_size, space.batch_size))
    else:
        size = 2 ** choose("log2_batch_size", IntDistribution(0, space.doublings(workers)))
    return Layout(runner, workers, threads, size)


def _described(space: Space, layout: Layout) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """A layout as optuna's parameters, and what each was chosen from."""
    values = {
        "runner": layout.runner,
        "workers": layout.workers,
        "intra_op_threads": layout.intra_op_threads,
        "batch_size": layout.batch_size,
        "log2_batch_size": layout.batch_size.bit_length() - 1,
    }
    params: dict[str, Any] = {}
    ranges: dict[str, BaseDistribution] = {}

    def choose(name: str, among: CategoricalDistribution | IntDistribution) -> Any:
        params[name], ranges[name] = values[name], among
        return values[name]

    _walk(space, choose)
    return params, ranges


def _open(path: Path, maximize: bool) -> Study:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        storage = optuna.storages.RDBStorage(
            # The path goes past the URL, in which some characters mean something else, and no
            # connection stays open when its work is done.
            "sqlite:///search.db",
            engine_kwargs={"creator": lambda: sqlite3.connect(path), "poolclass": NullPool},
        )
        return optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except (SQLAlchemyError, RuntimeError) as error:
        raise RequestError(
            f"{path} is not a study that optuna can read ({type(error).__name__}).",
            remedy="Delete it: the trials are in search.json, and it is made anew from them.",
        ) from None


def _suggest(trial: Trial) -> Choose:
    from optuna.distributions import CategoricalDistribution

    def choose(name: str, among: CategoricalDistribution | IntDistribution) -> Any:
        if isinstance(among, CategoricalDistribution):
            return trial.suggest_categorical(name, among.choices)
        return trial.suggest_int(name, among.low, among.high, log=among.log)

    return choose


def _layout(params: Mapping[str, Any]) -> Layout | None:
    """None where the command was killed while the parameters were being chosen."""
    try:
        size = params.get("batch_size") or 2 ** params["log2_batch_size"]
        return Layout(params["runner"], params["workers"], params["intra_op_threads"], size)
    except KeyError:
        return None
