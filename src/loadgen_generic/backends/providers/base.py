"""A provider that needs nothing particular, such as the CPU's; the others differ from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.ortworkers import make_worker
from loadgen_generic.errors import RequestError
from loadgen_generic.provider_facts import facts_of
from loadgen_generic.seams import Batch, Worker

__all__ = ["Asked", "Make", "Open", "Provider"]

Asked = Sequence[tuple[str, Mapping[str, str]]]  # providers in order of preference, with options
Make = Callable[[Asked], ort.InferenceSession]
Open = Callable[[], ort.InferenceSession]
_CPU = "CPUExecutionProvider"


class Provider:
    """How a session on one execution provider is made, used and read back.

    Args:
        name: ONNX Runtime's.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, spec: BackendSpec) -> None:
        """Load what a session will need; called once, before the first session."""

    def open(self, spec: BackendSpec, make: Make, plain: bool = False) -> ort.InferenceSession:
        """A session, made as often as it takes to find out what the model allows.

        Args:
            plain: for a worker that does nothing particular to this provider, such as the
                profiler's.
        """
        return make([(self.name, self.options(spec))])

    def options(self, spec: BackendSpec) -> dict[str, str]:
        """The options of the provider: those that follow from the request, under the user's own.

        Raises:
            RequestError: an option that the provider does not take, or that contradicts another.
        """
        known = facts_of(self.name)
        if self.name == _CPU:  # which ignores what it does not know
            for key, value in spec.provider_options.items():
                raise RequestError(
                    f"the {known.short} provider has no option {key}.",
                    flag="ep_options",
                    value=f"{key}={value}",
                    remedy=known.suggestion(key),
                )
        return dict(spec.provider_options)

    def session_entries(self, spec: BackendSpec) -> dict[str, str]:
        """Session configuration entries that follow from the request."""
        return {}

    def check(self, session: ort.InferenceSession, spec: BackendSpec) -> None:
        """Raise RunError where the session, now open, does less than what was asked for."""

    def worker(self, session: ort.InferenceSession, spec: BackendSpec, another: Open) -> Worker:
        """One worker's handle on the session.

        Args:
            another: opens another session like it, for a provider whose workers share none.
        """
        return make_worker(session)

    def phases(self, batches: Iterator[Batch], beat: Callable[[], None]) -> Mapping[str, float]:
        """What an inference spends on each of its phases, in microseconds, by their names in a
        result; empty where there is nothing to split."""
        return {}

    def effective(self, session: ort.InferenceSession, spec: BackendSpec) -> Mapping[str, object]:
        """What is in force, read back where that can be: at least ``precision`` (in words; what
        the computation uses) and ``ep_options``."""
        told = session.get_provider_options().get(self.name, {})
        precision = "not told by the provider"
        if self.name == _CPU:  # where auto changes nothing
            precision = "float32" if spec.precision == "float32" else "as the model"
        return {
            "precision": precision,
            "ep_options": {**self.options(spec), **told},
        }

    def notes(self, session: ort.InferenceSession, spec: BackendSpec) -> list[str]:
        """What the user should know of how the session was made."""
        return []
