"""Looks at the nodes before a campaign: they are alike, and have the files that its tests need."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen_generic import __version__
from loadgen_generic.backends.wire import weights_beside
from loadgen_generic.campaigns.spreading.places import LostNodeError, Places, Ticket, names_of
from loadgen_generic.campaigns.spreading.there import describe, digests
from loadgen_generic.cluster.files import (
    contents_of,
    describe_model,
    keep_model,
    model_here,
)
from loadgen_generic.cluster.node import Node
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError
from loadgen_generic.supervisor import find_model

__all__ = ["Ready", "failure_on", "make_ready"]

_ALIKE = ("processor", "cores", "packages")
# Options that name a file or directory beside the model. Of a dataset, which may be large, only that
# it is there is looked at.
_PATHS = ("dataset", "user_conf", "audit", "verify", "tls_ca")
_ANY_CONTENT = ("dataset",)
_NO_PATHS = ("data", "reference")  # words that --verify takes


@dataclass(frozen=True, slots=True)
class Ready:
    """A node that can take tests.

    Attributes:
        name: what it is called in messages and results.
        cores: that tests may use there.
        model: path of the model there; empty where the tests name no file.
    """

    node: Node
    name: str
    cores: int
    model: str


def make_ready(
    places: Places, config: BenchmarkConfig, note: Callable[[str], None]
) -> tuple[list[Ready], dict[str, str]]:
    """The nodes for the tests of a campaign, and the paths, made absolute, that these name.

    A model that a node lacks is sent there.

    Returns:
        The nodes, at least one; and by option the paths as they are here.

    Raises:
        RequestError: a node lacks a file.
        RunError: no node is left; one has another version of this package; they are not alike.
    """
    nodes = [node for node in places.nodes() if node.cpus]
    look = _Look(places, names_of(nodes), note)
    facts = look.at_all(nodes, lambda node: places.start(node, describe), "cannot run tests")
    _check_versions({look.names[node.id]: each for node, each in facts.items()})
    _check_alike({look.names[node.id]: each for node, each in facts.items()})
    paths = _paths_of(config)
    _check_paths(look, list(facts), paths)
    models = dict.fromkeys(facts, "")
    if config.model_path is not None:
        paths["model_path"] = find_model(config)
        models = _with_model(look, list(facts), paths["model_path"])
    if not models:
        raise RunError("no node of the cluster is left to run tests; see `ray status`")
    ready = [
        Ready(node, look.names[node.id], facts[node]["cores"], model)
        for node, model in models.items()
    ]
    return ready, paths


def failure_on(name: str, error: Exception, what: str = "") -> LoadgenGenericError:
    """What a call on a node raised, as an error that names the node."""
    words = f"on node {name}: {error}"
    if isinstance(error, RequestError):
        return RequestError(words)
    if isinstance(error, LoadgenGenericError):
        return RunError(words)
    return RunError(f"node {name} {what or 'failed'} ({type(error).__name__}: {error})")


class _Look:
    """Asks all nodes at once; one that is lost meanwhile is left out."""

    def __init__(
        self, places: Places, names: Mapping[str, str], note: Callable[[str], None]
    ) -> None:
        self.places, self.names, self._note = places, names, note

    def at_all(
        self, nodes: Sequence[Node], ask: Callable[[Node], Ticket], trouble: str
    ) -> dict[Node, Any]:
        """What each says.

        Args:
            trouble: what to say of a node that raised what this package does not.
        """
        asked = {node: ask(node) for node in nodes}
        told: dict[Node, Any] = {}
        for node, ticket in asked.items():
            name = self.names[node.id]
            try:
                told[node] = self.places.outcome(ticket)
            except LostNodeError as error:
                self._note(f"node {name} is lost, and left out: {error}")
            except Exception as error:
                raise failure_on(name, error, trouble) from error
        return told


def _check_versions(facts: Mapping[str, Mapping[str, Any]]) -> None:
    for name, each in facts.items():
        if each["version"] != __version__:
            raise RunError(
                f"node {name} has version {each['version']} of loadgen-generic, and this command is "
                f"version {__version__}; install the same on every node"
            )


def _check_alike(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """One node that is faster than the others would pass for a better load."""
    for name, each in facts.items():
        first, known = next(iter(facts.items()))
        unlike = [what for what in _ALIKE if each[what] != known[what]]
        if unlike:
            raise RunError(
                f"node {name} is not like node {first}, so their tests cannot be compared: "
                f"{', '.join(_difference(what, each[what], known[what]) for what in unlike)}. "
                "--trials_on ray needs a cluster of like machines"
            )


def _difference(what: str, there: Any, first: Any) -> str:
    if isinstance(there, dict):
        names = [name for name in sorted({*there, *first}) if there.get(name) != first.get(name)]
        pairs = (
            f"{name} {there.get(name, 'none')}, not {first.get(name, 'none')}" for name in names
        )
        return f"{what} ({'; '.join(pairs)})"
    return f"{what} ({there}, not {first})"


def _paths_of(config: BenchmarkConfig) -> dict[str, str]:
    """Absolute, since a node has another current directory."""
    given = {name: getattr(config, name) for name in _PATHS}
    return {
        name: os.path.abspath(Path(value).expanduser())
        for name, value in given.items()
        if value is not None and value not in _NO_PATHS
    }


def _check_paths(look: _Look, nodes: Sequence[Node], paths: Mapping[str, str]) -> None:
    if not paths:
        return
    ours = dict(zip(paths, digests(list(paths.values())), strict=True))
    found = look.at_all(
        nodes,
        lambda node: look.places.start(node, digests, list(paths.values())),
        "cannot read what the options name",
    )
    for node, theirs in found.items():
        for (flag, path), digest in zip(paths.items(), theirs, strict=True):
            if digest == ours[flag] or (digest is not None and flag in _ANY_CONTENT):
                continue
            raise RequestError(
                f"node {look.names[node.id]} has "
                + ("no such file." if digest is None else "another file there."),
                flag=flag,
                value=path,
                remedy="Put the same one on every node, under the same path.",
            )


def _with_model(look: _Look, nodes: Sequence[Node], path: str) -> dict[Node, str]:
    """The path of the model on each node, sent there if need be."""
    places = look.places
    try:
        files = describe_model(path, weights_beside(path))
        found = look.at_all(
            nodes, lambda node: places.start(node, model_here, files), "cannot read the model"
        )
        lacking = [node for node, there in found.items() if not there]
        if lacking:
            contents = places.share(contents_of(files))
            sent = look.at_all(
                lacking,
                lambda node: places.start(node, keep_model, files, contents),
                "cannot keep the model",
            )
            found = {node: sent.get(node, there) for node, there in found.items()}
    except OSError as error:
        raise RunError(f"cannot read {error.filename or path}: {error.strerror or error}") from None
    return {node: there for node, there in found.items() if there}
