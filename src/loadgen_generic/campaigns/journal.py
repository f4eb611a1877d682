"""What a campaign has done so far, in one file, so that it can go on after any kind of end.

A campaign has a directory of its own, with a directory for each of its runs inside. The
journal is written aside and renamed after every run, so it names finished runs only. The same
request for the same directory goes on with what is unfinished there; a lock, which the system
takes away with the process, keeps a second command out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.results.result import RESULT_FILE, Result, read_result, write_json
from loadgen_generic.rundir import candidates, claim

__all__ = ["Journal", "entry_of", "open_journal"]

_SCHEMA_VERSION = 1
_LOCK = ".lock"
_REQUEST = "request.json"
# Where a run may write and how it ends is no part of the question.
_NOT_ASKED = {"output_dir", "stall_timeout_sec"}


def entry_of(result: Result) -> dict[str, Any]:
    """What every journal says of a finished run."""
    return {
        "value": result.metric.value,
        "unit": result.metric.unit,
        "valid": result.valid,
        "duration_s": result.duration_s,
        "verdict": result.verdict,
    }


class Journal:
    """The file, and the runs it names.

    Attributes:
        directory: of the campaign.
        content: what the file holds; ``runs`` are the finished ones, in order.
        resumed: how many of them an earlier command finished.
    """

    def __init__(self, directory: Path, file: str, content: dict[str, Any]) -> None:
        self.directory = directory
        self.path = directory / file
        self.content = content
        self.resumed = len(self.runs)

    @property
    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.content["runs"]
        return runs

    def save(self) -> None:
        write_json(self.path, self.content)

    def place(self, inside: str) -> tuple[Path, Result | None]:
        """The directory of the next run, and its result if it finished as the command ended.

        What an interrupted run left there is kept beside it.
        """
        return self.place_at(f"{inside}/{len(self.runs) + 1:03d}")

    def place_at(self, name: str) -> tuple[Path, Result | None]:
        """As :meth:`place`, in a directory of that name."""
        path = self.directory / name
        if (path / RESULT_FILE).is_file():
            return path, read_result(path)
        if path.exists():
            number = 1
            while (aside := path.with_name(f"{path.name}-unfinished-{number}")).exists():
                number += 1
            path.rename(aside)
        if not claim(path):
            raise RunError(f"{path} appeared while this command was running")
        return path, None

    def add(self, run: Mapping[str, Any], result: Result, kind: str = "") -> None:
        """Note a finished run, and its node if it ran on one of a cluster.

        Args:
            kind: runs of several kinds, such as on two providers, have a ground for each.

        Raises:
            RunError: the model, the machine or the packages are not those of the first run of
                its kind.
        """
        ground = {
            "model": result.model.sha256,
            "processor": result.host.get("cpu"),
            "cores": result.host.get("cores_available"),
            "packages": result.packages,
        }
        first = self.content.setdefault("ground", {}).setdefault(kind, ground)
        changed = [name for name, value in ground.items() if first[name] != value]
        node = result.host.get("node")
        if changed:
            first_node = next((each["node"] for each in self.runs if "node" in each), node)
            unlike = (
                "not the same as when this began"
                if node == first_node
                else f"node {node} is not like node {first_node}, where this began"
            )
            raise RunError(
                f"{unlike}, so the runs in {self.directory} cannot be compared: "
                f"{', '.join(changed)}. Give another --output_dir to begin anew."
            )
        self._note(run if node is None else {**run, "node": node}, Path(result.output_dir))

    def add_failed(self, run: Mapping[str, Any], directory: Path) -> None:
        """Note a run that ended without a result, where that is an answer as well."""
        self._note(run, directory)

    def _note(self, run: Mapping[str, Any], directory: Path) -> None:
        inside = os.path.relpath(directory, self.directory)
        self.runs.append({"number": len(self.runs) + 1, **run, "directory": inside})
        self.save()

    def finish(self, **facts: Any) -> None:
        self.content.update(facts, state="finished", finished_at=_now())
        self.save()


@contextmanager
def open_journal(
    file: str, kind: str, output_dir: str | None, name: str, asked: Mapping[str, Any]
) -> Iterator[Journal]:
    """A new campaign, or the unfinished one that asked the same.

    Args:
        file: name of the journal.
        kind: what the campaign is called in messages.
        output_dir: as the user gave it.
        name: for the name of a directory that was not asked for.
        asked: the options given.

    Raises:
        RequestError: another command is at work in the directory; an unfinished campaign there
            asked something else; the directory cannot be written to.
    """
    request = {key: value for key, value in asked.items() if key not in _NOT_ASKED}
    request = json.loads(json.dumps(request))
    for directory in candidates(output_dir, name):
        if claim(directory):
            with _locked(directory, kind):
                write_json(directory / _REQUEST, dict(asked))
                content = {
                    "schema_version": _SCHEMA_VERSION,
                    "state": "unfinished",
                    "started_at": _now(),
                    "request": request,
                    "runs": [],
                }
                journal = Journal(directory, file, content)
                journal.save()
                yield journal
            return
        if (directory / file).is_file() and _read(directory / file)["state"] != "finished":
            with _locked(directory, kind):
                yield Journal(directory, file, _resumable(directory / file, kind, request))
            return


def _resumable(path: Path, kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    content = _read(path)
    if content["request"] != request:
        before = content["request"]
        differ = sorted(k for k in {*before, *request} if before.get(k) != request.get(k))
        was = ", ".join(f"--{k} {before[k]}" if k in before else f"no --{k}" for k in differ)
        raise RequestError(
            f"an unfinished {kind} is there that was asked for with {was}.",
            flag="output_dir",
            value=path.parent,
            remedy="Ask the same to go on with it, or give another directory.",
        )
    return content


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read ({error}).", remedy="Give another --output_dir."
        ) from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != _SCHEMA_VERSION:
        raise RequestError(
            f"{path} cannot be read: it has schema_version {version}, and this package knows "
            f"{_SCHEMA_VERSION}.",
            remedy="Give another --output_dir.",
        )
    return content


@contextmanager
def _locked(directory: Path, kind: str) -> Iterator[None]:
    with (directory / _LOCK).open("w") as file:
        try:
            _lock(file)
        except OSError:
            raise RequestError(
                f"another command is at work on the {kind} there.",
                flag="output_dir",
                value=directory,
                remedy="Wait for it, or give another directory.",
            ) from None
        yield


def _lock(file: IO[str]) -> None:
    """Take the file for this process; the system gives it back when the process ends."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
