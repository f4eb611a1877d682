"""What a run asks about its answers: prepared before the test, answered after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from loadgen_generic.answers.collect import collect
from loadgen_generic.answers.keep import Keeper
from loadgen_generic.answers.precision import coarse_type, precision_of
from loadgen_generic.answers.reference import Expected, Reference, reference_spec
from loadgen_generic.answers.spotcheck import MOST_KEPT, SpotCheck
from loadgen_generic.answers.verify import DEFAULT_SAMPLES, Question, spread, verify
from loadgen_generic.backends import BackendSpec
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.result import Verification
from loadgen_generic.seams import Known, Runner, SampleLibrary, Witness
from loadgen_generic.settings import samples_per_query
from loadgen_generic.tensors import ModelSignature, SamplePlan

__all__ = ["Inquiry"]


class Inquiry:
    """The accuracy run's answers and the verification, as far as the user asked for them.

    Args:
        measured: the backend that is measured, with the path of its model.
        source: of the samples.

    Attributes:
        keeper: takes the answers of an accuracy run; None in a performance run.
        effective: the options in force.

    Raises:
        RequestError: ``--verify`` asks for what there is not, or for a model that does not go
            with the measured one. Said before the test, so that no test is run in vain.
    """

    def __init__(
        self,
        config: BenchmarkConfig,
        measured: BackendSpec,
        signature: ModelSignature,
        plan: SamplePlan,
        samples: SampleLibrary,
        source: Known,
    ) -> None:
        self._config, self._measured, self._signature = config, measured, signature
        self._plan, self._samples, self._source = plan, samples, source
        self._names = [spec.name for spec in signature.outputs]
        self.keeper = None
        if config.mode == "accuracy":
            self.keeper = Keeper(plan, source, self._names, config.save_outputs)
        self._spot: SpotCheck | None = None
        self._indices = []
        if config.verify is not None:
            self._indices = spread(samples.count(), config.verify_samples or DEFAULT_SAMPLES)
            self._check()
        self.effective: dict[str, object] = {
            "mode": config.mode,
            "save_outputs": config.save_outputs,
            "verify": config.verify,
            "verify_samples": len(self._indices),
            "verify_fraction": config.verify_fraction,
            "atol": config.atol,
            "rtol": config.rtol,
            "tolerance": config.tolerance,
        }

    def watch(self, runner: Runner, beat: Callable[[], None]) -> Witness | None:
        """Who keeps answers during the test, if ``--verify_fraction`` asks for it.

        Args:
            runner: up and idle; asked for one answer, to know how large one is.
        """
        config, plan = self._config, self._plan
        if config.verify_fraction is None:
            return None
        (answer,) = collect(runner, plan, [0], config.scenario, 1, beat)
        self._spot = SpotCheck(
            plan,
            config.verify_fraction,
            config.verify_samples or MOST_KEPT,
            sum(output.nbytes for output in answer),
            config.seed,
        )
        return self._spot

    def answer(
        self, runner: Runner, run_dir: Path, beat: Callable[[], None], precision: str = ""
    ) -> Mapping[str, object]:
        """The blocks of the result, by name; after the test, with the runner up and idle.

        Args:
            precision: what the backend says that it computes in.

        Raises:
            RunError: LoadGen did not ask for every sample in accuracy mode.
        """
        blocks: dict[str, object] = {}
        if self.keeper is not None:
            accuracy = self.keeper.accuracy()
            if accuracy.samples != self._samples.count():
                raise RunError(
                    f"{accuracy.samples} of {self._samples.count()} samples were answered"
                )
            if self._config.save_outputs:
                file = str(self.keeper.save(run_dir))
                accuracy = accuracy.model_copy(update={"outputs_file": file})
            blocks["accuracy"] = accuracy.model_dump()
        if self._config.verify is not None:
            blocks["verification"] = self._verify(runner, beat, precision).model_dump()
        return blocks

    def _check(self) -> None:
        against = self._config.verify
        if against == "data":
            if all(self._source.expected(index) is None for index in self._indices):
                raise RequestError(
                    "no expected outputs came with the data.",
                    flag="verify",
                    value=against,
                    remedy="Give a --dataset that has them, such as ONNX test_data_set_* "
                    "directories, or take --verify reference.",
                )
        elif against == "reference":
            if not self._measured.model_path:
                raise RequestError(
                    "there is no model file to make a reference of.", flag="verify", value=against
                )
        else:
            self._reference().close()

    def _reference(self) -> Reference:
        asked = self._config.verify or ""
        path = self._measured.model_path if asked == "reference" else asked
        spec = reference_spec(self._measured, path)
        return Reference(spec, self._samples, self._plan, self._signature)

    def _verify(self, runner: Runner, beat: Callable[[], None], precision: str) -> Verification:
        config, against = self._config, self._config.verify or ""
        computed = coarse_type(precision)
        question = Question(
            against=against,
            outputs=self._names,
            scenario=config.scenario,
            per_query=samples_per_query(config),
            absolute=config.atol,
            relative=config.rtol,
            by_direction=self._by_direction(against, computed),
            computed=computed,
            tolerance=config.tolerance or "",
        )
        right = Expected(self._source, self._plan) if against == "data" else self._reference()
        return verify(
            question,
            right,
            runner,
            self._samples,
            self._source,
            self._plan,
            self._indices,
            beat,
            None if self._spot is None else self._spot.kept(),
        )

    def _by_direction(self, against: str, computed: str) -> bool:
        """Whether rounding to few bits, or to others than the right answers have, is expected."""
        if self._config.tolerance is not None:
            return self._config.tolerance == "int8"
        if computed == "int8":
            return True
        measured = self._measured.model_path
        if against in ("data", "reference") or not measured:
            return False
        return precision_of(measured) != precision_of(against)
