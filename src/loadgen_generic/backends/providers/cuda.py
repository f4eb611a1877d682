"""CUDA: NVIDIA GPUs.

Each worker has a session and a stream of its own, because a session runs in the one stream that it
was made with; the weights are on the GPU once for each worker.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.card.buffers import Lane, why_plain
from loadgen_generic.backends.card.graphs import Graphs, why_on_host, why_refused
from loadgen_generic.backends.card.memory import QUIET, Card, Stream
from loadgen_generic.backends.card.residence import Residences
from loadgen_generic.backends.card.split import split
from loadgen_generic.backends.card.worker import CardWorker
from loadgen_generic.backends.ortworkers import make_worker
from loadgen_generic.backends.providers.base import Asked, Make, Open, Provider
from loadgen_generic.errors import RequestError, RunError
from loadgen_generic.seams import Batch, Worker

__all__ = ["TF32_OVERRIDE", "Cuda"]

_TF32 = "use_tf32"
_OWN = ("user_compute_stream", "has_user_compute_stream")
_OFF = ("0", "false", "off")
TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"


class Cuda(Provider):
    """Sessions on one GPU.

    Attributes:
        graph_option: turns CUDA graphs on.
        widens: see :class:`Lane`.
        load_sec: what making sessions took.
    """

    graph_option = "enable_cuda_graph"
    widens = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.load_sec = 0.0
        self._lock = threading.RLock()
        self._card: Card | None = None
        self._residences: Residences | None = None
        self._lanes: list[Lane] = []
        self._workers: weakref.WeakKeyDictionary[Lane, weakref.ref[CardWorker]]
        self._workers = weakref.WeakKeyDictionary()
        self._why_plain = ""

    def prepare(self, spec: BackendSpec) -> None:
        if spec.precision in ("tf32", "auto") and os.environ.get(TF32_OVERRIDE) == "0":
            raise RequestError(
                f"the environment has {TF32_OVERRIDE}=0, which forbids it.",
                flag="precision",
                value=spec.precision,
                remedy="Unset the variable, or leave --precision out.",
            )
        preload = getattr(ort, "preload_dlls", None)
        if preload is not None:
            preload()  # those that were installed as Python packages; it prints what it misses

    def options(self, spec: BackendSpec) -> dict[str, str]:
        for key in _OWN:
            if key in spec.provider_options:
                raise RequestError(
                    f"{key} cannot be given: each worker has a stream of its own.",
                    flag="ep_options",
                )
        number = str(spec.device)
        if spec.provider_options.get("device_id", number) != number:
            raise RequestError(
                f"device_id={spec.provider_options['device_id']} is another GPU than {number}.",
                flag="ep_options",
                remedy="Name GPUs with --devices.",
            )
        return {"device_id": number, **self._precision(spec), **spec.provider_options}

    def _precision(self, spec: BackendSpec) -> dict[str, str]:
        if spec.precision == "auto":
            return {}
        return {_TF32: "1" if spec.precision == "tf32" else "0"}

    def asked(self, spec: BackendSpec, stream: Stream, graphs: bool) -> Asked:
        """The providers of a session, with their options."""
        own = {"user_compute_stream": str(stream.address)}
        return [(self.name, {**self.options(spec), **self._graphs(spec, graphs), **own})]

    def _graphs(self, spec: BackendSpec, graphs: bool) -> dict[str, str]:
        asked = graphs or self.graph_option in spec.provider_options
        return {self.graph_option: "1" if graphs else "0"} if asked else {}

    def open(self, spec: BackendSpec, make: Make, plain: bool = False) -> ort.InferenceSession:
        card = self._card_of(spec)
        stream = Stream(card)
        began = time.perf_counter()
        with QUIET:  # it allocates
            if plain:
                return make(self.asked(spec, stream, graphs=False))
            session, why_not = self._with_graphs(spec, make, stream)
            if session is None:
                session = make(self.asked(spec, stream, graphs=False))
        self.load_sec += time.perf_counter() - began
        if self._is_here(session):
            self._why_plain = why_plain(session)
            graphs = Graphs(why_not)
            self._lanes.append(Lane(session, card, stream, graphs, self.graph_option, self.widens))
        return session

    def _with_graphs(
        self, spec: BackendSpec, make: Make, stream: Stream
    ) -> tuple[ort.InferenceSession | None, str]:
        """A session that may record CUDA graphs, or why there is none."""
        told = spec.provider_options.get(self.graph_option, "").lower()
        if told in _OFF:
            return None, "--ep_options says so"
        if self._lanes and self._lanes[0].graphs.why_not:
            return None, self._lanes[0].graphs.why_not
        try:
            session = make(self.asked(spec, stream, graphs=True))
        except Exception as error:
            why_not = why_refused(str(error))
            if told or not why_not:
                raise
            return None, why_not
        why_not = why_plain(session)
        if not told:
            why_not = why_not or why_on_host(session) or self.why_unfit(session)
        return (None, why_not) if why_not else (session, "")

    def why_unfit(self, session: ort.InferenceSession) -> str:
        """Why graphs of this session may fail later, in words; empty if they will not."""
        return ""

    def check(self, session: ort.InferenceSession, spec: BackendSpec) -> None:
        super().check(session, spec)
        if self._why_plain and spec.data_location != "host":
            raise RequestError(
                f"the model's tensors cannot be kept ready for a GPU: {self._why_plain}.",
                flag="data_location",
                value=spec.data_location,
                remedy="Leave it out: samples then start in ordinary memory.",
            )

    def worker(self, session: ort.InferenceSession, spec: BackendSpec, another: Open) -> Worker:
        if self._why_plain:
            return make_worker(session)
        with self._lock:
            lane = self._idle_lane() or self._another_lane(another)
            if spec.data_location != "host" and self._residences is None:
                on_card = spec.data_location == "device"
                self._residences = Residences(lane.card, on_card)
            return self._worker_on(lane)

    def _worker_on(self, lane: Lane) -> CardWorker:
        worker = CardWorker(lane, self._residences)
        self._workers[lane] = weakref.ref(worker)
        return worker

    def _idle_lane(self) -> Lane | None:
        """One whose worker is gone."""
        for lane in self._lanes:
            if self._worker_of(lane) is None:
                return lane
        return None

    def _worker_of(self, lane: Lane) -> CardWorker | None:
        """Who uses it, if anybody does."""
        holder = self._workers.get(lane)
        return holder() if holder is not None else None

    def _another_lane(self, another: Open) -> Lane:
        session = another()
        if not self._lanes or self._lanes[-1].session is not session:
            started = ", ".join(session.get_providers())
            raise RunError(
                f"--ep {self.name}: worker {len(self._lanes) + 1} of a GPU needs a session of its "
                f"own, which came up on {started} instead. The GPU may be out of memory: a smaller "
                "--concurrency needs fewer sessions. harness.log has ONNX Runtime's own words."
            )
        return self._lanes[-1]

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        with self._lock:
            if self._why_plain or not self._lanes:
                return {}
            lane = self._idle_lane() or self._lanes[0]
            worker = self._worker_of(lane) or self._worker_on(lane)
        return split(worker, lane.card, batches, beat)

    def effective(self, session: ort.InferenceSession, spec: BackendSpec) -> Mapping[str, object]:
        told = session.get_provider_options().get(self.name, {})
        options = {**self.options(spec), **told}
        return {
            "precision": self.computes_in(spec, told),
            "ep_options": {key: options[key] for key in sorted(options) if key not in _OWN},
            "data_location": spec.data_location,
            "cuda_graph": self._graphs_in_words(),
            "sessions": len(self._lanes),
        }

    def computes_in(self, spec: BackendSpec, told: Mapping[str, str]) -> str:
        """The precision in words, as read back where it can be."""
        if _TF32 in told:
            return "tf32" if told[_TF32] == "1" else _not_lowered(spec)
        return f"{spec.precision} (as asked; not read back)" if spec.precision else "as the model"

    def _graphs_in_words(self) -> str:
        if self._why_plain:
            return f"off: {self._why_plain}"
        # Whatever a worker could not do, the result says.
        words = {lane.graphs.in_words() for lane in self._lanes if self._worker_of(lane)}
        return max(words, key=len, default="not known: workers have sessions elsewhere")

    def notes(self, session: ort.InferenceSession, spec: BackendSpec) -> list[str]:
        notes = []
        if self._why_plain:
            notes.append(
                f"ONNX Runtime copies samples and answers itself, because {self._why_plain}"
            )
        if len(self._lanes) > 1:
            notes.append(
                f"GPU {spec.device} holds the model's weights {len(self._lanes)} times: each "
                "worker has a session of its own"
            )
        words = self._graphs_in_words()
        if words != "on" and "--ep_options" not in words:
            notes.append(f"CUDA graphs are {words}")
        return notes

    def _card_of(self, spec: BackendSpec) -> Card:
        if self._card is None:
            self._card = Card(spec.device)
        return self._card

    def _is_here(self, session: ort.InferenceSession) -> bool:
        """Whether it runs on this provider, and not on the CPU in its place."""
        return bool(session.get_providers()[:1] == [self.name])


def _not_lowered(spec: BackendSpec) -> str:
    return "float32" if spec.precision == "float32" else "as the model"
