"""``loadgen-generic doctor``: what is installed here, which providers start, and what to do."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import Parser
from loadgen_generic.errors import RunError
from loadgen_generic.provider_facts import PROVIDERS, facts_of
from loadgen_generic.wording import format_measured

if TYPE_CHECKING:
    from loadgen_generic.doctor import Checked, Checkup, Start

__all__ = ["add_doctor"]

_FLAGS = ("ep", "execution_provider", "json")
_WIDTH = 100
_NAME_COLUMNS = 12
_GIB = 1 << 30
_SPREAD = 0.1  # of the time that a single start takes


def add_doctor(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "doctor",
        help="show what is installed, which providers start, and what to do about the others",
        description="Show each environment with ONNX Runtime, try each execution provider in a "
        "process of its own with a model of two operators, and show the NVIDIA driver, the cards "
        "and the libraries of CUDA, cuDNN and TensorRT that are here, beside those that each ONNX "
        "Runtime was built for. Each problem comes with its remedy.",
        epilog="exit codes: 0 every provider that counts starts, 1 one does not, 2 the request was "
        "wrong",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(command=_doctor, name="doctor", known=list(_FLAGS))
    short = ", ".join(facts.short for facts in PROVIDERS)
    parser.add_argument(
        "--ep",
        "--execution_provider",
        "--execution-provider",
        metavar="NAME",
        help=f"the provider that counts: {short} (default: the CPU's, and each that has an "
        "environment)",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON, nothing else")


def _doctor(parsed: argparse.Namespace) -> int:
    from loadgen_generic.doctor import check

    given = vars(parsed)
    checkup = check(given.get("ep"), lambda text: print(f"{text} ...", file=sys.stderr, flush=True))
    if given.get("json", False):
        print(json.dumps(checkup.document(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_page(checkup)))
    return RunError.exit_code if checkup.broken else 0


def _page(checkup: Checkup) -> Iterator[str]:
    yield f"loadgen-generic {checkup.harness}, Python {checkup.python}, {checkup.system}"
    yield from _driver(checkup)
    for environment in checkup.environments:
        yield ""
        yield from _environment(environment)
    yield ""
    for short, why in checkup.broken.items():
        if why:
            yield from _wrapped(short, why, indent=0)
    if checkup.broken:
        yield f"does not start: {', '.join(checkup.broken)}"
    else:
        yield "every provider that counts starts"


def _driver(checkup: Checkup) -> Iterator[str]:
    driver = checkup.driver
    if driver is None:
        yield from _row("NVIDIA", "no driver")
    elif driver.problem:
        yield from _row("NVIDIA", f"the driver does not answer: {driver.problem}")
    else:
        yield from _row("NVIDIA", f"driver {driver.version}, for CUDA up to {driver.cuda}")
        for card in driver.cards:
            memory = f"{card.memory_bytes / _GIB:.0f} GiB"
            yield from _row(f"GPU {card.number}", f"{card.name}, {memory}")
    if checkup.visible is not None:
        yield from _row("variable", f"CUDA_VISIBLE_DEVICES={checkup.visible}")


def _environment(checked: Checked) -> Iterator[str]:
    kind = "" if checked.python == str(Path(sys.executable)) else "environment "
    yield f"{kind}{checked.name} ({checked.python})"
    listed = [f"{name} {version}" for name, version in checked.packages.items()]
    yield from _row("ONNX Runtime", ", ".join(listed) or "none")
    cuda = checked.onnxruntime.get("cuda")
    if cuda:
        yield from _row("built for", f"CUDA {cuda}")
        yield from _row("here", ", ".join(_libraries(checked.libraries)) or "no CUDA, no cuDNN")
    others = [f"{name} {version}" for name, version in checked.versions.items()]
    if others:
        yield from _row("also", ", ".join(others))
    yield from _trouble(checked.problem, checked.remedy)
    for start in checked.starts:
        yield from _start(start)


def _libraries(libraries: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    """Each kind and version once, where it would be taken from first."""
    seen = set()
    # A runtime without cuBLAS runs no model, so it is not what is looked at first.
    for library in sorted(libraries, key=lambda library: library["name"] == "cudart"):
        major = library["version"].partition(".")[0]
        name = f"{library['kind']} {major}"
        part = " (the runtime only)" if library["name"] == "cudart" else ""
        if name in seen:
            continue
        seen.add(name)
        folder = library["path"].replace("\\", "/").rpartition("/")[0]
        hidden = "" if library["loadable"] else ", where the loader does not look"
        yield f"{name}{part} in {folder}{hidden}"


def _start(start: Start) -> Iterator[str]:
    short = facts_of(start.provider).short
    if start.starts:
        devices = f"; devices: {', '.join(start.devices)}" if start.devices else ""
        took = f" in {format_measured(start.seconds, 's', _SPREAD)}" if start.seconds else ""
        yield from _row(short, f"starts{took}{devices}")
        return
    counts = "" if start.asked else " (it does not count: nothing of it is set up here)"
    yield from _row(short, f"does not start{counts}")
    yield from _trouble(start.problem, start.remedy)


def _trouble(problem: str, remedy: str) -> Iterator[str]:
    if problem:
        yield from _wrapped("problem", problem, indent=4)
    if remedy:
        yield from _wrapped("remedy", remedy, indent=4)


def _row(name: str, text: str) -> Iterator[str]:
    yield from _wrapped(name, text, indent=2)


def _wrapped(name: str, text: str, indent: int) -> Iterator[str]:
    head = f"{' ' * indent}{name + ':':<{_NAME_COLUMNS + 1}} "
    # Paths and commands stay whole, to be copied.
    yield from textwrap.wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
