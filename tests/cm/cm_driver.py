"""Drive the real cm command and the real cmind.access."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TAGS = "app,loadgen,generic,loadgen-generic,python"
# Short, and without the probe: what CM does is the matter here, not the number.
SHORT = {"samples": "200", "loadgen_expected_qps": "1000"}

# Runs cmind.access on a pickled input, since values of any type have to arrive as they are.
ACCESS = """
import json, pickle, sys
import cmind
inputs = pickle.load(open(sys.argv[1], "rb"))
answers = [cmind.access(one) for one in inputs]
keys = ("return", "error", "new_env", "new_state")
answers = [{key: answer[key] for key in keys if key in answer} for answer in answers]
json.dump(answers, open(sys.argv[2], "w"), default=str)
"""


def new_home(directory: Path) -> dict[str, str]:
    """The environment of a user with a CM home there and our virtual environment first on PATH."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CM_")}
    environ["CM_REPOS"] = str(directory)
    # CM calls pip for what it misses: never outside a virtual environment, never over a network.
    environ.update(PIP_REQUIRE_VIRTUALENV="1", PIP_NO_INDEX="1")
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    register = [sys.executable, str(ROOT / "tools" / "register.py")]
    subprocess.run(register, env=environ, check=True, capture_output=True)
    return environ


@dataclass(frozen=True)
class Finished:
    """A command that ended: what it returned, and all it printed."""

    code: int
    output: str

    @property
    def error(self) -> str:
        return self.output.partition("CM error:")[2] or self.output.partition("detected a")[2]


@dataclass(frozen=True)
class Cm:
    """The cm command and the Python API, in one CM home and one current directory."""

    environ: dict[str, str]
    directory: Path

    def command(self, *arguments: str, tool: str = "cm", stdin: str = "") -> Finished:
        path = Path(sys.executable).with_name(tool)
        return self._start([str(path), *arguments], stdin)

    def run(self, *arguments: str, tags: str = "", tool: str = "cm", **flags: str) -> Finished:
        """``cm run script`` by our tags and the given variations, short and quiet."""
        spelled = [f"--{flag}={value}" for flag, value in {**SHORT, **flags}.items()]
        by_tags = f"--tags={TAGS}{',' + tags if tags else ''}"
        return self.command("run", "script", by_tags, "--quiet", *spelled, *arguments, tool=tool)

    def access(self, *inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """``cmind.access`` of each input, one after the other in one process."""
        common = {"action": "run", "automation": "script", "tags": TAGS, "quiet": True}
        question, answer = self.directory / "question", self.directory / "answer"
        question.write_bytes(pickle.dumps([{**common, **one} for one in inputs]))
        done = self._start([sys.executable, "-c", ACCESS, str(question), str(answer)], "")
        assert done.code == 0, done.output
        answers: list[dict[str, Any]] = json.loads(answer.read_text())
        return answers

    def results(self) -> list[dict[str, Any]]:
        """Every result.json below the current directory."""
        return [json.loads(file.read_text()) for file in self.directory.rglob("result.json")]

    def _start(self, command: list[str], stdin: str) -> Finished:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )
        return Finished(done.returncode, done.stdout)
