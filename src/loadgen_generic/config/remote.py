"""A model that an inference server has, in place of one that is loaded here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator

from loadgen_generic.config.base import Options
from loadgen_generic.option import Option, parse_pairs

__all__ = [
    "HERE",
    "REQUEST_TIMEOUT_MS",
    "RemoteOptions",
    "asks_this_machine",
    "masked_headers",
    "parse_endpoints",
    "parse_headers",
]

_GROUP = "Remote"
HERE = "127.0.0.1:8081"  # where `loadgen-generic serve` listens
REQUEST_TIMEOUT_MS = 30_000.0
_MASK = "***"
_HOST = r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/,\[\]]+)"
_ENDPOINT = re.compile(_HOST + r":(\d{1,5})", re.ASCII)
_LAST_PORT = 65535
# What HTTP/2 takes: names in small letters, values in ASCII.
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
# Runners whose workers share one client, which knows what is outstanding at each endpoint.
_RUNNERS = ("auto", "inline", "threadpool", "inflight")
_SESSION_GROUPS = ("Session", "Device")
_NOT_OF_A_SESSION = ("backend", "execution_provider")  # the latter is looked at before a run


class RemoteOptions(Options):
    endpoint: Annotated[
        str | None,
        Option(_GROUP, "CM_MLPERF_ENDPOINT", metavar="HOST:PORT[,HOST:PORT...]"),
    ] = Field(
        None,
        description="where the servers of --backend kserve listen for gRPC; each request goes to the "
        f"one with the fewest outstanding ({HERE}, where the command serve listens)",
    )
    remote_model: Annotated[
        str | None, Option(_GROUP, "CM_MLPERF_REMOTE_MODEL", metavar="NAME")
    ] = Field(
        None,
        description="name of the model on the server (default: the only one that it has, else that "
        "of the file of --modelpath)",
    )
    request_timeout_ms: Annotated[
        float | None, Option(_GROUP, "CM_MLPERF_REQUEST_TIMEOUT_MS", unit="ms")
    ] = Field(
        None,
        gt=0,
        le=3.6e6,
        description="a request that is not answered within this time has failed, and with it the "
        f"run; none is sent again ({REQUEST_TIMEOUT_MS:.0f})",
    )
    tls: Annotated[bool, Option(_GROUP, "CM_MLPERF_TLS")] = Field(
        False, description="talk to the server over TLS"
    )
    tls_ca: Annotated[str | None, Option(_GROUP, "CM_MLPERF_TLS_CA", metavar="FILE")] = Field(
        None,
        description="certificate (PEM) that the server's has to be signed by, or is; over TLS "
        "(default: those that gRPC brings)",
    )
    header: Annotated[
        str | None, Option(_GROUP, "CM_MLPERF_HEADER", metavar="NAME=VALUE[,NAME=VALUE...]")
    ] = Field(
        None,
        description="headers of each request, such as authorization; their values stand in no log "
        "and no result, though other users of this machine see a command line, and not a --config "
        "file",
    )
    network_division: Annotated[bool, Option(_GROUP, "CM_MLPERF_NETWORK_DIVISION")] = Field(
        False,
        description="the client as the rules of MLPerf's network division have it: no batching, "
        "padding or caching before the server",
    )

    @field_validator("endpoint", mode="before")
    @classmethod
    def _endpoints_as_text(cls, value: object) -> object:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    @field_validator("endpoint")
    @classmethod
    def _endpoints(cls, value: str | None) -> str | None:
        return value if value is None else ",".join(parse_endpoints(value))

    @field_validator("header", mode="before")
    @classmethod
    def _headers_as_text(cls, value: object) -> object:
        if isinstance(value, dict):
            return ",".join(f"{name}={each}" for name, each in value.items())
        return value

    def remote_contradiction(self) -> str:
        """What these options say against others, for the user; empty if nothing.

        A header that is none is found here as well: pydantic would show the value.
        """
        if getattr(self, "backend", "") != "kserve":
            for name in RemoteOptions.model_fields:
                if getattr(self, name):
                    return f"--{name} has no meaning without --backend kserve"
            if getattr(self, "runner", "") == "inflight":
                return "--runner inflight has no meaning without --backend kserve"
            return ""
        if trouble := _trouble_with_headers(self.header or ""):
            return trouble
        for name, value in self._of_a_session():
            return f"--{name} {value} is about a session here, and with --backend kserve the server has it"
        if (runner := getattr(self, "runner", "auto")) not in _RUNNERS:
            return (
                f"--runner {runner} has sessions or processes of its own, and --backend kserve has "
                f"one client; choose one of {', '.join(_RUNNERS)}"
            )
        if getattr(self, "mode", "") == "tune":
            return (
                "--mode tune tries providers and sessions here, and with --backend kserve the server "
                "has them; --mode find_peak searches for the highest load"
            )
        if getattr(self, "profile", False):
            return (
                "--profile looks into a session here, and with --backend kserve the server has it"
            )
        return self._division_contradiction() if self.network_division else ""

    def _of_a_session(self) -> Iterator[tuple[str, object]]:
        for name, field in type(self).model_fields.items():
            option = next(each for each in field.metadata if isinstance(each, Option))
            if option.group in _SESSION_GROUPS and name not in _NOT_OF_A_SESSION:
                value = getattr(self, name)
                default = field.get_default(call_default_factory=True)
                if name in self.model_fields_set and value not in (default, None):
                    yield name, _typed(value)

    def _division_contradiction(self) -> str:
        several = getattr(self, "batch_size", None) or 1
        stream = getattr(self, "scenario", "") == "MultiStream"
        if several > 1 and not (stream and several == getattr(self, "samples_per_query", None)):
            return (
                f"--batch_size {several}: --network_division forbids that the client puts samples "
                "together; leave it out"
            )
        if getattr(self, "batch_timeout_us", None):
            return "--batch_timeout_us waits for a batch, and --network_division forbids batching"
        return ""


def parse_endpoints(text: str) -> list[str]:
    """``a:1, b:2`` as a list.

    Raises:
        ValueError: a part is not HOST:PORT, or is there twice.
    """
    endpoints = [part.strip() for part in text.split(",")]
    for each in endpoints:
        found = _ENDPOINT.fullmatch(each)
        if found is None or not 0 < int(found[2]) <= _LAST_PORT:
            raise ValueError(
                "expected HOST:PORT[,HOST:PORT...], the port for gRPC, without http:// before it"
            )
    if len(set(endpoints)) < len(endpoints):
        raise ValueError("an endpoint is named twice")
    return endpoints


def asks_this_machine(text: str) -> bool:
    """Whether any of the endpoints is by its name one of this machine: localhost, 127.x or ::1."""
    hosts = [each.rpartition(":")[0].strip("[]").lower() for each in parse_endpoints(text)]
    return any(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)


def parse_headers(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dict, names in small letters.

    Raises:
        ValueError: it is not of that form.
    """
    pairs = parse_pairs(text)
    headers = {name.lower(): value for name, value in pairs.items()}
    if len(headers) < len(pairs):
        raise ValueError("a header is given twice")
    return headers


def masked_headers(text: str) -> str:
    """The names alone; nothing of what is of another form."""
    try:
        names = list(parse_headers(text))
    except ValueError:
        return _MASK
    return ",".join(f"{name}={_MASK}" if _HEADER_NAME.fullmatch(name) else _MASK for name in names)


def _trouble_with_headers(text: str) -> str:
    """What is wrong with them, without their values; empty if nothing."""
    try:
        headers = parse_headers(text)
    except ValueError:
        return "--header: expected NAME=VALUE[,NAME=VALUE...], each name once"
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            # Not even the name is shown: it may be half of a token with a = in it.
            return "--header: a name is of letters, digits and _ . - (NAME=VALUE, without a colon)"
        if not _HEADER_VALUE.fullmatch(value):
            return f"--header {name}={_MASK}: the value of a header is of plain ASCII characters"
        if name.startswith("grpc-") or name.endswith("-bin"):
            return f"--header {name}={_MASK}: gRPC keeps this name for itself"
    return ""


def _typed(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)
