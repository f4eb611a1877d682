"""A provider that needs nothing particular, such as the CPU's; the others differ from it."""

from __future__ import annotations

from collections.abc import Mapping

import onnxruntime as ort

from loadgen_generic.backends import BackendSpec
from loadgen_generic.backends.ortworkers import make_worker
from loadgen_generic.seams import Worker

__all__ = ["Provider"]


class Provider:
    """How a session on one execution provider is made, used and read back.

    Args:
        name: ONNX Runtime's.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self) -> None:
        """Load what a session will need; called once, before the first session."""

    def options(self, spec: BackendSpec) -> dict[str, str]:
        """The options of the provider: those that follow from the request, under the user's own.

        Raises:
            RequestError: an option that the provider does not take, or that contradicts another.
        """
        return dict(spec.provider_options)

    def session_entries(self, spec: BackendSpec) -> dict[str, str]:
        """Session configuration entries that follow from the request."""
        return {}

    def worker(self, session: ort.InferenceSession, spec: BackendSpec) -> Worker:
        """One worker's handle on the session."""
        return make_worker(session)

    def effective(self, session: ort.InferenceSession, spec: BackendSpec) -> Mapping[str, object]:
        """What is in force, read back where that can be: at least ``precision`` (in words; what
        the computation uses) and ``ep_options``."""
        told = session.get_provider_options().get(self.name, {})
        return {
            "precision": spec.precision or "as the model",
            "ep_options": {**self.options(spec), **told},
        }

    def notes(self, session: ort.InferenceSession, spec: BackendSpec) -> list[str]:
        """What the user should know of how the session was made."""
        return []
