"""Where a provider is looked for, and what is said where it is not found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from loadgen_generic.environments.reading import NEEDED, Environment, here, read
from loadgen_generic.errors import RunError
from loadgen_generic.provider_facts import PROVIDERS, ProviderFacts, facts_of
from loadgen_generic.rundir import cache_dir

__all__ = ["for_provider", "how_to_make", "known", "named"]

_VARIABLE = "LOADGEN_GENERIC_ENVIRONMENTS"
_OLDEST = (3, 10)
_PATIENCE_SEC = 60.0
_CHECKOUT = Path(__file__).resolve().parents[3]
# Starts in the other environment, where a module may come by a way that no directory shows.
_LOOK = "import importlib.util as u, sys; print(*(m for m in sys.argv[1:] if not u.find_spec(m)))"


def known() -> list[Environment]:
    """This interpreter's environment, and the others that were found, one of each name."""
    names = dict.fromkeys(facts.extra for facts in PROVIDERS)
    found = (named(name) for name in names)
    return [here(), *(environment for environment in found if environment is not None)]


def for_provider(provider: str, allow_fallback: bool = False) -> Environment:
    """The environment to run a provider in: this interpreter's if it has it, else another.

    Args:
        provider: ONNX Runtime's name, or the short one.
        allow_fallback: where no environment has it, this one will do if it has any ONNX Runtime.

    Raises:
        RunError: none has it, or the one that does cannot be used; names the remedy.
    """
    facts, own = facts_of(provider), here()
    if own.has(provider) or (own.packages and not facts.package):
        _check_alone(own)
        return own
    without = []
    for name in _names(facts):
        environment = named(name)
        if environment is None:
            continue
        if environment.has(provider):
            _check(environment)
            return environment
        without.append(environment)
    if allow_fallback and own.packages:
        _check_alone(own)
        return own
    raise RunError(_not_found(provider, facts, own, without))


def _names(facts: ProviderFacts) -> list[str]:
    """Of the environments that may have a provider: one package has several providers."""
    alike = [other.extra for other in PROVIDERS if other.package == facts.package]
    return list(dict.fromkeys([facts.extra, *alike])) if facts.package else []


def named(name: str) -> Environment | None:
    """The environment of a name; None where there is none."""
    for directory in _places(name):
        environment = read(directory, name)
        if environment is not None:
            return environment
    return None


def _places(name: str) -> Iterator[Path]:
    """Directories that an environment may have, the user's own choice first."""
    chosen = os.environ.get(_VARIABLE)
    if chosen:
        yield Path(chosen).expanduser() / name
    if _in_checkout():
        yield _CHECKOUT / f".venv-{name}"
    yield cache_dir() / "environments" / name


def _in_checkout() -> bool:
    return (_CHECKOUT / "Makefile").is_file() and (_CHECKOUT / "pyproject.toml").is_file()


def _check(environment: Environment) -> None:
    """Whether the harness can run there.

    Raises:
        RunError: it names what is wrong with it.
    """
    where = environment.in_words()
    if environment.version is not None and environment.version < _OLDEST:
        found = ".".join(map(str, environment.version))
        oldest = ".".join(map(str, _OLDEST))
        raise RunError(
            f"{where} has Python {found}, and the benchmark needs {oldest} or newer. Make it again "
            "with a newer one."
        )
    _check_alone(environment)
    if environment.missing:
        _check_missing(environment, where)


def _check_alone(environment: Environment) -> None:
    if len(environment.packages) > 1:
        names = " ".join(environment.packages)
        wanted = next(iter(environment.packages))
        raise RunError(
            f"{environment.python} has {environment.described()}, which overwrite each other's "
            "files, so nobody knows which of them runs. Keep one: "
            f"{environment.python} -m pip uninstall -y {names}, then "
            f"{environment.python} -m pip install {wanted} (or another of them)."
        )


def _check_missing(environment: Environment, where: str) -> None:
    modules = {NEEDED[name]: name for name in environment.missing}
    try:
        looked = subprocess.run(
            [environment.python, "-c", _LOOK, *modules],
            env=environment.environ(),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SEC,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"{where} does not start: {error}. Make it again.") from None
    lacking = [modules[module] for module in looked.stdout.split()]
    if lacking:
        names = " ".join(lacking)
        raise RunError(
            f"{where} lacks what the benchmark needs: {', '.join(lacking)}. Install it there: "
            f"{environment.python} -m pip install {names}"
        )


def _not_found(
    provider: str, facts: ProviderFacts, own: Environment, without: list[Environment]
) -> str:
    package = facts.package or "onnxruntime"
    if not own.packages:
        return (
            f"--ep {provider}: there is no ONNX Runtime for {sys.executable}. Install it: "
            f"{sys.executable} -m pip install {package}"
        )
    others = "".join(f"; it is not in {each.in_words()} either" for each in without)
    return (
        f"--ep {provider} is in the package {package}, and {own.python} has {own.described()}"
        f"{others}. The packages of ONNX Runtime overwrite each other, so give it an environment of "
        f"its own: {how_to_make(facts.extra, package)}"
    )


def how_to_make(name: str, packages: str) -> str:
    """What to type for an environment of this name, with these packages and the harness's own."""
    if _in_checkout():
        return f"make venv EP={name} (in {_CHECKOUT})"
    chosen = os.environ.get(_VARIABLE)
    base = Path(chosen).expanduser() if chosen else cache_dir() / "environments"
    directory = base / name
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return (
        f"{sys.executable} -m venv {directory}, then "
        f"{python} -m pip install {packages} {' '.join(NEEDED)}"
    )
