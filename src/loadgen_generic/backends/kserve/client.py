"""One endpoint of the protocol, through tritonclient: its calls, and its errors in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loadgen_generic.backends import RemoteSpec
from loadgen_generic.errors import RequestError, RunError

try:
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException
except ImportError as error:
    raise RequestError(
        f"it talks to servers through tritonclient, which is not installed here ({error}).",
        flag="backend",
        value="kserve",
        remedy='Install it with pip install "loadgen-generic[kserve]".',
    ) from None

__all__ = ["FailedError", "Server", "triton"]

_NOT_ABOUT_THE_MODEL = (
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "CANCELLED",
)
_MOST_WORDS = 400
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
]


class FailedError(Exception):
    """A request that was not answered; the message is for the user.

    Args:
        status: gRPC's word.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The client of one endpoint; for any number of threads."""

    def __init__(self, endpoint: str, remote: RemoteSpec) -> None:
        self.endpoint = endpoint
        self._remote = remote
        self._call = {"headers": dict(remote.headers), "client_timeout": remote.timeout_sec}
        self._client = triton.InferenceServerClient(
            endpoint,
            ssl=remote.tls,
            root_certificates=remote.tls_ca or None,
            channel_args=_CHANNEL,
        )
        self._name = ""

    def check_live(self) -> None:
        """Raise RunError unless a server of the protocol answers."""
        try:
            live = self._ask(self._client.is_server_live)
        except FailedError as error:
            raise self._not_there(error) from None
        if not live:
            raise RunError(f"{self.endpoint}: the server says that it is not live")

    def models(self) -> list[str] | None:
        """The names of the models it has; None where it does not tell."""
        try:
            index = self._ask(self._client.get_model_repository_index)
        except FailedError:  # an extension, which not every server has
            return None
        return sorted({each.name for each in index.models})

    def model(self, name: str) -> Any:
        """What the server says of a model: ``inputs``, ``outputs``, ``platform``, ``versions``.

        Raises:
            RequestError: it has no such model.
            RunError: the model is not ready, or nobody answers.
        """
        try:
            metadata = self._ask(self._client.get_model_metadata, name)
            ready = self._ask(self._client.is_model_ready, name)
        except FailedError as error:
            if error.status in _NOT_ABOUT_THE_MODEL:
                raise self._not_there(error) from None
            has = self.models()
            raise RequestError(
                f"{self.endpoint} does not know this model ({error}).",
                flag="remote_model",
                value=name,
                remedy=f"It has: {', '.join(has)}."
                if has
                else "Give the name that the server has.",
            ) from None
        if not ready:
            raise RunError(f"{self.endpoint}: the server says that model {name} is not ready")
        return metadata

    def name(self) -> str:
        """The server's own name, version and extensions, and where it is: one round trip.

        Raises:
            RunError: nobody answers.
        """
        try:
            told = self._ask(self._client.get_server_metadata)
        except FailedError as error:
            raise self._not_there(error) from None
        name = " ".join(filter(None, (told.name, told.version))) or "server"
        extensions = f" ({', '.join(told.extensions)})" if told.extensions else ""
        return f"{name}{extensions} at {self.endpoint}"

    def infer(self, model: str, inputs: Sequence[Any]) -> Any:
        """The response to one request.

        Raises:
            FailedError: there is none, or none in time.
        """
        return self._ask(self._client.infer, model, inputs).get_response()

    def send(self, model: str, inputs: Sequence[Any], answered: Callable[[Any, str], None]) -> None:
        """Send a request and return.

        Args:
            answered: called from a thread of the channel with the response, or why there is none.
        """

        def called(result: Any, error: Any) -> None:
            if error is None:
                answered(result.get_response(), "")
            else:
                answered(None, str(self._failure(error)))

        self._client.async_infer(model, inputs, called, **self._call)

    def close(self) -> None:
        self._client.close()

    def _ask(self, call: Any, *given: object) -> Any:
        try:
            return call(*given, **self._call)
        except InferenceServerException as error:
            raise self._failure(error) from None

    def _failure(self, error: Any) -> FailedError:
        status = str(error.status() or "").removeprefix("StatusCode.")
        return FailedError(self._words(status, str(error.message() or "")), status)

    def _words(self, status: str, said: str) -> str:
        if status == "DEADLINE_EXCEEDED":
            milliseconds = self._remote.timeout_sec * 1000
            return f"no answer within --request_timeout_ms {milliseconds:g}"
        for value in filter(None, self._remote.headers.values()):
            said = said.replace(value, "***")
        said = " ".join(said.split())
        return f"{status}: {said[:_MOST_WORDS]}".removesuffix(": ")

    def _not_there(self, error: FailedError) -> RunError:
        remedy = "Is the server running, and is this its port for gRPC?"
        if error.status == "UNAVAILABLE":
            remedy += (
                " Its certificate has to be for this host, and known here: --tls_ca FILE."
                if self._remote.tls
                else " A server that wants TLS needs --tls or --tls_ca FILE."
            )
        elif error.status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            remedy = "--header authorization=VALUE says who asks."
        return RunError(f"{self.endpoint} does not answer ({error}). {remedy}")
