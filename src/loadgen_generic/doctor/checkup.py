"""The checkup: each environment is described, and each provider is tried in each that has it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadgen_generic import __version__, environments
from loadgen_generic.diagnosis.driver import Driver, find_driver
from loadgen_generic.diagnosis.libraries import TENSORRT
from loadgen_generic.doctor.children import Ask, ask
from loadgen_generic.environments import Environment
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.models import smallest
from loadgen_generic.provider_facts import PROVIDERS, ProviderFacts, facts_of

__all__ = ["Checked", "Checkup", "Start", "check"]

_CPU = "cpu"
# Only asked of OpenVINO, whose devices ONNX Runtime does not list. It is no error to have none.
_OPENVINO_DEVICES = ("GPU", "NPU")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Start:
    """One provider, tried in one environment.

    Attributes:
        asked: whether it counts: a provider that nobody set up may fail.
        seconds: of loading the smallest model and asking it once; None where it never answered.
        devices: of OpenVINO, those on which it starts.
        problem, remedy: empty if it starts.
    """

    provider: str
    starts: bool
    asked: bool
    seconds: float | None = None
    devices: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """One environment.

    Attributes:
        packages: ONNX Runtime's, with versions; more than one is a problem.
        versions: of other packages that matter.
        onnxruntime: what it says of itself: version, cuda, providers; empty if it does not import.
        libraries: CUDA, cuDNN and TensorRT as seen from there, by the fields of Library.
        problem, remedy: what is wrong with the whole of it; empty if nothing is.
    """

    name: str
    python: str
    packages: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    onnxruntime: Mapping[str, Any] = field(default_factory=dict)
    libraries: tuple[Mapping[str, Any], ...] = ()
    starts: tuple[Start, ...] = ()
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was found.

    Attributes:
        harness: version of this package.
        driver: NVIDIA's; None where there is none.
        visible: ``CUDA_VISIBLE_DEVICES``; None where it is not set.
        broken: short names of the providers that matter and do not start where a run would take
            them, each with why, unless that stands at its environment.
    """

    harness: str
    python: str
    system: str
    driver: Driver | None
    visible: str | None
    environments: tuple[Checked, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {**asdict(self), "ok": not self.broken}


def check(asked: str | None, say: Callable[[str], None], ask_child: Ask = ask) -> Checkup:
    """Look at everything.

    Args:
        asked: the only provider that matters, by ONNX Runtime's name or the short one; None for
            the CPU's and each that an environment was made for.
        say: told of what takes long.
        ask_child: asks one environment's interpreter.

    Raises:
        RequestError: there is no such provider.
    """
    if asked is not None and not facts_of(asked).package:
        known = ", ".join(facts.short for facts in PROVIDERS)
        raise RequestError(
            "is no provider that is known here.", flag="ep", value=asked, remedy=f"Known: {known}."
        )
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "smallest.onnx"
        smallest.write(model)
        examiner = _Examiner(asked, str(model), say, ask_child)
        checked = tuple(examiner.examine(each) for each in environments.known())
    return Checkup(
        __version__,
        platform.python_version(),
        platform.platform(),
        find_driver(),
        os.environ.get(_VISIBLE),
        checked,
        dict(_judge(asked, checked)),
    )


@dataclass(frozen=True, slots=True)
class _Examiner:
    """Asks one environment after the other."""

    asked: str | None
    model: str
    say: Callable[[str], None]
    ask_child: Ask

    def examine(self, environment: Environment) -> Checked:
        known = (environment.name, str(environment.python), environment.packages)
        if not environment.packages:
            return Checked(*known)
        told = self._ask(environment, {}, "its packages")
        if len(environment.packages) > 1:
            told = {**told, "onnxruntime": {}, **_several(environment)}
        problem, remedy = told.get("problem", ""), told.get("remedy", "")
        runtime = told.get("onnxruntime", {})
        libraries = tuple(told.get("libraries", ()))
        has = runtime.get("providers") or [f.name for f in PROVIDERS if environment.has(f.short)]
        starts = tuple(
            self._start(environment, facts, self._matters(environment, facts, libraries), runtime)
            for facts in self._to_try(environment, has)
        )
        if any(start.starts and facts_of(start.provider).cards for start in starts):
            problem = remedy = ""  # what seemed to lack was found in a way that is not known here
        return Checked(
            *known, told.get("packages", {}), runtime, libraries, starts, problem, remedy
        )

    def _to_try(self, environment: Environment, built_in: list[str]) -> Iterator[ProviderFacts]:
        for facts in PROVIDERS:
            if self.asked is not None and facts is not facts_of(self.asked):
                continue
            # Elsewhere the CPU's provider is what this Python's already is.
            if facts.name in built_in and (
                facts.short != _CPU or environment.is_here or self.asked is not None
            ):
                yield facts

    def _start(
        self,
        environment: Environment,
        facts: ProviderFacts,
        matters: bool,
        runtime: Mapping[str, Any],
    ) -> Start:
        if not runtime:  # what is wrong with the whole of the environment is told there
            return Start(facts.name, False, matters)
        job = {"model": self.model, "provider": facts.name}
        told = self._ask(environment, job, facts.name)
        devices: tuple[str, ...] = ()
        if facts.short == "openvino" and told["starts"]:
            devices = ("CPU", *self._devices(environment, job))
        return Start(
            facts.name,
            told["starts"],
            matters,
            told.get("seconds"),
            devices,
            told["problem"],
            told["remedy"],
        )

    def _matters(
        self,
        environment: Environment,
        facts: ProviderFacts,
        libraries: tuple[Mapping[str, Any], ...],
    ) -> bool:
        """ONNX Runtime for GPUs has TensorRT built in, also for those who have none."""
        if self.asked is not None or facts.short != "tensorrt" or environment.name == facts.extra:
            return True
        return any(library["kind"] == TENSORRT for library in libraries)

    def _devices(self, environment: Environment, job: Mapping[str, Any]) -> Iterator[str]:
        for device in _OPENVINO_DEVICES:
            options = {"options": {"device_type": device}}
            if self._ask(environment, {**job, **options}, f"OpenVINO's device {device}")["starts"]:
                yield device

    def _ask(self, environment: Environment, job: Mapping[str, Any], what: str) -> dict[str, Any]:
        where = "this Python" if environment.is_here else f"the environment {environment.name}"
        return self.ask_child(environment, job, lambda: self.say(f"looking at {what} in {where}"))


def _several(environment: Environment) -> dict[str, str]:
    names = " ".join(environment.packages)
    pip = f"{environment.python} -m pip"
    return {
        "problem": f"{environment.described()} are installed together and overwrite each other's "
        "files, so nobody knows which of them runs.",
        "remedy": f"Keep one: {pip} uninstall -y {names}, then {pip} install the one that is "
        "needed.",
    }


def _judge(asked: str | None, checked: tuple[Checked, ...]) -> Iterator[tuple[str, str]]:
    """Each provider that matters and does not work where a run would take it, by its short name,
    with why if that does not stand at its environment."""
    starts = [start.provider for each in checked for start in each.starts if start.asked]
    for name in dict.fromkeys([facts_of(asked or _CPU).name, *starts]):
        short = facts_of(name).short
        try:
            chosen = environments.for_provider(name)
        except RunError as error:
            yield short, str(error)
            continue
        there = [each for each in checked if each.python == str(chosen.python)]
        tried = [start for each in there for start in each.starts if start.provider == name]
        if not tried:
            yield short, _not_built_in(chosen, there)
        elif not tried[0].starts:
            yield short, ""


def _not_built_in(chosen: Environment, there: list[Checked]) -> str:
    told = f"ONNX Runtime in {chosen.in_words()} does not name it, though its package does."
    why = next((each.problem for each in there if each.problem), told)
    anew = f"{chosen.python} -m pip install --force-reinstall {' '.join(chosen.packages)}"
    return f"{why} Install it anew: {anew}"
