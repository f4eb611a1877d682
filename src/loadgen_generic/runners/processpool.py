"""N processes, each with a backend of its own; the samples are in memory that all of them see.

A thread of this process stands for each worker process and waits while it works. Only slots of
samples travel, as a few integers for each batch; answers come back only when somebody reads
them. One implementation under two names, because CM users know both.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

from loadgen_generic.errors import LoadgenGenericError, RunError
from loadgen_generic.runners.setup import RunnerSetup, cores_of_worker, pin_this_thread
from loadgen_generic.runners.threadpool import ThreadPoolRunner
from loadgen_generic.seams import Backend, Batch, Reader, SampleLibrary, SharedSamples, Worker
from loadgen_generic.tensors import Array

__all__ = ["ProcessPoolRunner"]

_READY, _DONE, _FAILED = b"r", b"d", b"f"
_STOP, _ANSWERS = b"s", b"a"  # no whole number of slots, hence no batch


class ProcessPoolRunner(ThreadPoolRunner):
    """A thread pool whose workers are other processes."""

    def _make_worker(self, number: int) -> tuple[Worker, Reader]:
        worker = _RemoteWorker(self._setup, number)
        self._on_close.append(worker.stop)
        return worker, _SlotReader(self._setup.samples)

    def _pin(self, number: int) -> None:
        """The worker process pins itself; the thread that stands for it only waits."""


class _SlotReader:
    """Turns indices into slots, which mean the same to every process."""

    def __init__(self, samples: SampleLibrary) -> None:
        self._slots = samples.slots

    def batch(self, indices: Sequence[int]) -> Batch:
        return Batch(len(indices), (), array("q", self._slots(indices)))


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker process is told when it starts."""

    make_backend: Callable[[], Backend]
    samples: SharedSamples
    batch_size: int
    cores: tuple[int, ...]


class _RemoteWorker:
    """This process's side of a worker process."""

    def __init__(self, setup: RunnerSetup, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        cores = tuple(cores_of_worker(number, setup.workers)) if setup.pin else ()
        job = _Job(setup.make_backend(number), setup.samples.share(), setup.batch_size, cores)
        self._process = context.Process(
            target=_serve, args=(theirs, job), name=f"worker-{number}", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._receive()

    def infer(self, batch: Batch) -> None:
        self._ask(cast("array[int]", batch.handle))

    def outputs(self) -> Sequence[Array]:
        return cast("Sequence[Array]", pickle.loads(self._ask(_ANSWERS)))

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self._pipe.send_bytes(_STOP)
        self._process.join()
        self._pipe.close()

    def _ask(self, question: bytes | array[int]) -> bytes:
        with contextlib.suppress(BrokenPipeError):  # what it left behind says more
            self._pipe.send_bytes(question)
        return self._receive()

    def _receive(self) -> bytes:
        try:
            message = self._pipe.recv_bytes()
        except (EOFError, OSError):
            self._process.join(1)
            raise RunError(
                f"{self._process.name} was ended in the middle of its work "
                f"(exit code {self._process.exitcode})"
            ) from None
        if message[:1] == _FAILED:
            deliberate, text = pickle.loads(message[1:])
            raise RunError(text) if deliberate else RuntimeError(text)
        return message[1:]


def _serve(pipe: Connection, job: _Job) -> None:
    """The worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if job.cores:
            pin_this_thread(job.cores)
        reader = job.samples.reader(job.batch_size)
        backend = job.make_backend()
        backend.load()
        worker = backend.worker()
        pipe.send_bytes(_READY)
        while (message := pipe.recv_bytes()) != _STOP:
            if message == _ANSWERS:
                pipe.send_bytes(_DONE + pickle.dumps(list(worker.outputs())))
                continue
            worker.infer(reader.batch(list(array("q", message))))
            pipe.send_bytes(_DONE)
    except (EOFError, KeyboardInterrupt):
        return
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        deliberate = isinstance(error, LoadgenGenericError)
        text = str(error) or type(error).__name__
        pipe.send_bytes(_FAILED + pickle.dumps((deliberate, text)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
