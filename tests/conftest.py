"""What most tests share: tiny models on disk, and the real command."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import tiny_models
from command import Command, Running

# Whoever starts the tests in the background has them ignore Ctrl-C, and what they start inherits
# that; the tests of Ctrl-C are about a command that a user started in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of the tiny model of that name."""
    directory = tmp_path_factory.mktemp("models")
    return cache(lambda name: tiny_models.write(directory, name))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command, in a directory of its own; its runs go to ``out`` there."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CM_")}
    return Command(tmp_path, environ | {"COLUMNS": "100"})


@pytest.fixture
def start(command: Command) -> Iterator[Callable[..., Running]]:
    """Starts runs in the background; those that a test leaves are ended."""
    started: list[Running] = []

    def begin(**flags: object) -> Running:
        started.append(command.start("run", **flags))
        return started[-1]

    yield begin
    for running in started:
        command.stop(running)
