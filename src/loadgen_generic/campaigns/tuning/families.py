"""The space of ``tune``: the providers that start here, and what each of them can compute in.

What is left out, is left out with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from loadgen_generic import environments
from loadgen_generic.campaigns.tuning.arithmetic import (
    precision_given,
    why_emulated,
    why_not_float32,
)
from loadgen_generic.campaigns.tuning.choices import MODES, timeouts, why_one_mode
from loadgen_generic.campaigns.tuning.family import Choice, Family
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.doctor.children import Ask, ask
from loadgen_generic.errors import RunError
from loadgen_generic.graph.structure import read_structure
from loadgen_generic.models import smallest
from loadgen_generic.provider_facts import PROVIDERS, ProviderFacts, facts_of
from loadgen_generic.results.tuning import LeftOut

__all__ = ["find_families"]

_CPU = "cpu"
_AS_THE_MODEL = "as the model"
_LOWER = ("tf32", "bfloat16", "float16")
# These run a model with QuantizeLinear and DequantizeLinear in integers.
_QUANTIZED = ("cpu", "openvino", "tensorrt")
# What the level all lays out anew, and the level extended leaves as it is.
_LAID_OUT = {
    "AveragePool",
    "Conv",
    "FusedConv",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "QLinearConv",
}


def find_families(
    config: BenchmarkConfig,
    model_path: str,
    tell: Callable[[str], None],
    ask_child: Ask = ask,
) -> tuple[list[Family], list[LeftOut]]:
    """The families that a request leaves open, and what is left out and why.

    The first is what a plain run would compute; its provider is not tried here, since that run
    says best what it lacks.

    Args:
        model_path: empty for the fake backend.
        tell: told of each provider that is tried, which takes seconds.
        ask_child: asks one environment's interpreter.
    """
    if config.backend == "fake":
        return [Family("fake", "fake", _AS_THE_MODEL, {})], []
    finder = _Finder(config, model_path, tell, ask_child)
    return finder.families(), finder.left_out


class _Finder:
    def __init__(
        self,
        config: BenchmarkConfig,
        model_path: str,
        tell: Callable[[str], None],
        ask_child: Ask,
    ) -> None:
        self._config, self._tell, self._ask = config, tell, ask_child
        self._base = facts_of(config.execution_provider)
        self._structure = read_structure(model_path)
        self._not_float32 = why_not_float32(model_path, self._structure)
        self._given, self._given_by = precision_given(config)
        self._no_int8 = self._not_float32 or self._given_by
        if "int8" not in config.allow:
            self._no_int8 = self._no_int8 or "allow it with --allow int8"
        self.left_out: list[LeftOut] = []

    def families(self) -> list[Family]:
        if self._config.allow_fallback and self._base.short != _CPU:
            why_not = self._why_not_here(self._base)
            if why_not:
                self._omit(self._base.short, why_not)
                precision = _AS_THE_MODEL if self._not_float32 else "float32"
                return [Family(f"cpu for {self._base.short}", _CPU, precision, {})]
        others = list(self._others())
        if self._given:
            self._omit("other precisions", self._given_by)
        if self._no_int8:
            self._omit("int8", self._no_int8)
        if "graph_optimization" in self._config.model_fields_set:
            named = f"--graph_optimization names {self._config.graph_optimization}"
            self._omit("other graph optimisation", named)
        else:
            self._omit("graph optimisation basic and disabled", "they only leave fusions out")
        return [family for facts in (self._base, *others) for family in self._of(facts)]

    def _omit(self, what: str, why: str) -> None:
        self.left_out.append(LeftOut(what=what, why=why))

    def _others(self) -> Iterator[ProviderFacts]:
        """The providers beside the first that start here."""
        for facts in PROVIDERS:
            if facts is self._base:
                continue
            if "execution_provider" in self._config.model_fields_set:
                why_not = f"--ep names {self._base.short}"
            else:
                why_not = self._why_not_here(facts)
            if why_not:
                self._omit(facts.short, why_not)
            else:
                yield facts

    def _why_not_here(self, facts: ProviderFacts) -> str:
        """Why a provider does not start, and what to do about it; empty if it does."""
        if not any(each.has(facts.short) for each in environments.known()):
            return (
                f"{facts.package} is not installed; `loadgen-generic doctor --ep {facts.short}` "
                "says how to get it"
            )
        try:
            environment = environments.for_provider(facts.name)
        except RunError as error:
            return str(error)
        where = "this Python" if environment.is_here else f"the environment {environment.name}"
        self._tell(f"seeing whether {facts.short} starts in {where}")
        with tempfile.TemporaryDirectory() as directory:
            model = Path(directory) / "smallest.onnx"
            smallest.write(model)
            job = {"model": str(model), "provider": facts.name}
            told = self._ask(environment, job, lambda: None)
        if told["starts"]:
            return ""
        return f"does not start: {told['problem']} {told['remedy']}".strip()

    def _of(self, facts: ProviderFacts) -> Iterator[Family]:
        mine = {} if facts is self._base else {"execution_provider": facts.name}
        choices = tuple(self._choices(facts))
        levels = list(self._levels(facts))
        for precision, options, quantized in self._precisions(facts):
            for suffix, level in levels:
                yield Family(
                    f"{facts.short} {precision}{suffix}",
                    facts.short,
                    precision,
                    {**mine, **options, **level},
                    quantized,
                    choices,
                )

    def _precisions(self, facts: ProviderFacts) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
        """Each with the options that make it, and whether the model has to be quantised."""
        own = _AS_THE_MODEL if self._not_float32 else "float32"
        if self._given:  # auto leaves nothing to the cpu provider
            yield own if facts.short == _CPU and self._given == "auto" else self._given, {}, False
            return
        yield own, {}, False
        for precision in _LOWER:
            if precision == "tf32" and not facts.cards:
                continue  # a way of theirs to compute float32
            why_not = self._why_not(facts, precision)
            if why_not:
                self._omit(f"{facts.short} {precision}", why_not)
            else:
                yield precision, {"precision": precision}, False
        if self._no_int8:
            return
        if facts.short in _QUANTIZED:
            yield "int8", {"precision": "int8"} if "int8" in facts.precisions else {}, True
        else:
            self._omit(f"{facts.short} int8", "it has no int8 kernels for most operators")

    def _why_not(self, facts: ProviderFacts, precision: str) -> str:
        if self._not_float32:
            return self._not_float32
        if precision not in facts.precisions:
            return "the provider has no switch for it"
        return why_emulated(facts, precision, self._config)

    def _levels(self, facts: ProviderFacts) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Of graph optimisation: what they add to the name, and the options that make them."""
        if "graph_optimization" in self._config.model_fields_set:
            level = self._config.graph_optimization
            yield "" if level == "all" else f", {level}", {}
            return
        yield "", {}
        what = "graph optimisation extended"
        if facts.short != _CPU:
            what += f" with {facts.short}"
            self._omit(what, "the level all lays nothing out anew beyond the cpu provider")
        elif self._structure is None:
            self._omit(what, "the model is not in ONNX's own format, so its graph is not known")
        elif self._structure.operators.isdisjoint(_LAID_OUT):
            self._omit(
                what,
                "the model has no convolution or pooling, all that the level all treats otherwise",
            )
        else:
            yield ", extended", {"graph_optimization": "extended"}

    def _choices(self, facts: ProviderFacts) -> Iterator[Choice]:
        if facts.short == _CPU:
            what, why_not = "execution mode parallel", why_one_mode(self._config, self._structure)
        else:
            what = f"execution mode parallel with {facts.short}"
            why_not = "only the cpu provider has it"
        if why_not:
            self._omit(what, why_not)
        else:
            yield MODES
        if self._config.scenario != "Server":
            return
        waits, why_not = timeouts(self._config, self._structure)
        if waits is not None:
            yield waits
        elif facts is self._base:  # it holds for all
            self._omit("batch time-out", why_not)
