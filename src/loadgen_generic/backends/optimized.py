"""Optimised models that ONNX Runtime wrote, kept so that the next load need not optimise again.

An entry is a directory ``optimized/<key>`` in the cache directory: the optimised graph, its
weights in a file of their own, and ``source.json``. ONNX Runtime maps such weights instead of
copying them, which is most of what is gained: ResNet-50 loads in 7 ms instead of 60 to 150 ms
on 2 cores, with the same throughput and the same answers.

An entry is never taken on trust. The key holds all that shapes the graph: path, settings,
ONNX Runtime's build and the processor. ``source.json`` holds what the file system knew of the
model and of the entry when it was written (inode, size, times of change), and any difference
means that it is written anew; it also holds the hash of the model, which a run compares with
that of the file before it measures.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.entries import ASIDE, make_room, remove
from loadgen_generic.hashing import sha256_of
from loadgen_generic.machine import processor_identity
from loadgen_generic.rundir import cache_dir

__all__ = ["Loaded", "load_optimized"]

_FORMAT = 1  # of an entry; another one never takes it
_SMALLEST_BYTES = 16 << 20  # below this a load takes a few ms as it is
_LARGEST_TOTAL_BYTES = 4 << 30
_MODEL, _WEIGHTS, _SOURCE = "model.onnx", "weights.bin", "source.json"
_CPU = "CPUExecutionProvider"
_ORT_FORMAT = b"ORTM"
_EXTERNAL_KEY = b"\x0a\x08location"  # of a weight kept elsewhere, as protobuf writes it
_OWN_SETTING = "session.optimized_model_external_initializers"
_LEAST_MAPPED_BYTES = 1024

Configure = Callable[[ort.SessionOptions], None]
Open = Callable[[str, Configure], ort.InferenceSession]
Identity = list[int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session, and where it came from.

    Attributes:
        state: ``cached``, ``written``, or ``off: `` and why.
        note: what the user should know; may be empty.
        entry: the directory that it came from, if any.
        sha256: of the model file that the entry was made from; empty without an entry.
    """

    session: ort.InferenceSession
    state: str
    note: str = ""
    entry: Path | None = None
    sha256: str = ""

    def discard(self) -> None:
        """Remove the entry; a session in use keeps what it has mapped."""
        if self.entry is not None:
            remove(self.entry)


def load_optimized(spec: BackendSpec, provider: str, open_session: Open) -> Loaded:
    """Open a session from the cache where there is a sound entry, else from the model; then
    write one where that is worth it.

    Args:
        open_session: opens a model file, after the given change to the session's options; what
            it raises for the user's own model passes through.
    """
    why_not = _why_not(spec, provider)
    if why_not:
        return Loaded(open_session(spec.model_path, _as_it_is), f"off: {why_not}")
    entry = cache_dir() / "optimized" / _key(spec, provider)
    note = ""
    if entry.exists():
        found, note = _take(entry, spec.model_path, open_session)
        if found is not None:
            return found
    loaded = _write(entry, spec.model_path, open_session)
    return replace(loaded, note=note or loaded.note)


def _why_not(spec: BackendSpec, provider: str) -> str:
    if spec.graph_optimization == "disabled":
        return "the graph is not optimised"
    if not spec.optimized_cache:
        return "not asked for"
    if provider != _CPU:
        return f"only for {_CPU}"
    if any(key.startswith("session.optimized_model") for key in spec.options):
        return "--backend_options writes an optimised model of its own"
    try:
        size = os.path.getsize(spec.model_path)
    except OSError:
        return "the model cannot be read"
    if size < _SMALLEST_BYTES:
        return f"the file is smaller than {_SMALLEST_BYTES >> 20} MiB"
    return ""


def _key(spec: BackendSpec, provider: str) -> str:
    """A name for all that shapes an optimised graph, except what the model file holds."""
    settings = [
        _FORMAT,
        os.path.realpath(spec.model_path),
        ort.__version__,
        ort.get_build_info(),
        provider,
        processor_identity(),
        spec.execution_mode,
        spec.graph_optimization,
        sorted(spec.options.items()),
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _take(entry: Path, model_path: str, open_session: Open) -> tuple[Loaded | None, str]:
    """The session of a sound entry; None and a note where it is not to be had any more."""
    try:
        source = json.loads((entry / _SOURCE).read_text("utf-8"))
        if source["model"] != _identity(Path(model_path)):
            return _gone(entry, "")
        if source["entry"] != _identities(entry):
            return _gone(entry, "was changed by somebody")
        sha256 = str(source["sha256"])
    except FileNotFoundError:
        return _gone(entry, "")  # another process is replacing it
    except (OSError, ValueError, KeyError, TypeError):
        return _gone(entry, "cannot be read")
    try:
        session = open_session(str(entry / _MODEL), _as_written)
    except Exception:  # noqa: BLE001 - the model itself tells whether anything is wrong with it
        return _gone(entry, "could not be loaded")
    with contextlib.suppress(OSError):
        os.utime(entry)  # the oldest ones are removed first
    return Loaded(session, "cached", entry=entry, sha256=sha256), ""


def _gone(entry: Path, why: str) -> tuple[None, str]:
    remove(entry)
    return None, f"the cached optimised model {why}; it was removed: {entry}" if why else ""


def _write(entry: Path, model_path: str, open_session: Open) -> Loaded:
    """Open the model and write an entry; the session is the entry's own, so that every run of
    the model measures the same."""
    model = Path(model_path)
    before = _identity(model)
    why_not = _why_left_alone(model)
    if why_not:
        return Loaded(open_session(model_path, _as_it_is), f"off: {why_not}")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        make_room(entry.parent, os.path.getsize(model), _LARGEST_TOTAL_BYTES)
        aside = Path(tempfile.mkdtemp(ASIDE, f"{entry.name}.", entry.parent))
    except OSError as error:
        return _unwritten(open_session(model_path, _as_it_is), entry, error.strerror or str(error))
    try:
        original, why_not = _write_aside(aside, model_path, open_session)
        if not why_not:
            why_not = _publish(aside, entry, model, before)
        # Also where another process was first.
        found = _take(entry, model_path, open_session)[0] if entry.exists() else None
        if found is None:
            return _unwritten(original, entry, why_not or "it was removed at once")
        return found if why_not else replace(found, state="written")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_aside(
    aside: Path, model_path: str, open_session: Open
) -> tuple[ort.InferenceSession, str]:
    """Open the model and have its optimised graph written; why it is of no use, if it is not."""
    written = aside / _MODEL
    try:
        original = open_session(model_path, lambda options: _write_to(options, written))
    except Exception:  # noqa: BLE001 - either the model is wrong, or there is no room
        return open_session(model_path, _as_it_is), "ONNX Runtime could not write it"
    try:
        again = open_session(str(written), _as_written)
    except Exception:  # noqa: BLE001 - the original is at hand
        return original, "ONNX Runtime cannot read what it wrote"
    same = _face(again) == _face(original)
    return original, "" if same else "what ONNX Runtime wrote has other inputs or outputs"


def _publish(aside: Path, entry: Path, model: Path, before: Identity) -> str:
    """Make what lies aside the entry, whole or not at all; why not, if it cannot be."""
    try:
        source = {"model": before, "sha256": sha256_of(model), "entry": _identities(aside)}
        if _identity(model) != before:
            return "the model changed meanwhile"
        (aside / _SOURCE).write_text(json.dumps(source), "utf-8")
        os.rename(aside, entry)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unwritten(session: ort.InferenceSession, entry: Path, why: str) -> Loaded:
    note = f"no optimised model is kept in {entry.parent}: {why}; --no-optimized_cache does not try"
    return Loaded(session, f"off: {why}", note)


def _as_it_is(options: ort.SessionOptions) -> None:
    """The model is opened with the user's own options."""


def _as_written(options: ort.SessionOptions) -> None:
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def _write_to(options: ort.SessionOptions, path: Path) -> None:
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry(f"{_OWN_SETTING}_file_name", _WEIGHTS)
    options.add_session_config_entry(f"{_OWN_SETTING}_min_size_in_bytes", str(_LEAST_MAPPED_BYTES))


def _face(session: ort.InferenceSession) -> list[tuple[str, str, list[object]]]:
    """What the outside sees of a model."""
    nodes = [*session.get_inputs(), *session.get_outputs()]
    return [(node.name, node.type, list(node.shape)) for node in nodes]


def _identity(path: Path) -> Identity:
    """Changes whenever the content of a file does, short of a file system that has no clock."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _identities(entry: Path) -> dict[str, Identity]:
    names = (_MODEL, _WEIGHTS)
    return {name: _identity(entry / name) for name in names if (entry / name).exists()}


def _why_left_alone(model: Path) -> str:
    """Why a model has nothing to gain, in words; empty if it has. Reads all of the file."""
    with (
        model.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content[4:8] == _ORT_FORMAT:
            return "it is in ONNX Runtime's own format"
        if content.find(_EXTERNAL_KEY) >= 0:
            # ONNX Runtime maps them as they are: 10 % would be gained (BERT-base).
            return "its weights are in other files"
    return ""
