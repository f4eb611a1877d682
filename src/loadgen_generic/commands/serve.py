"""``loadgen-generic serve``: a server of the Open Inference Protocol with a model inside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import (
    Parser,
    add_options,
    given_options,
    spellings,
)
from loadgen_generic.config import options
from loadgen_generic.errors import RequestError
from loadgen_generic.flags import parse_config

if TYPE_CHECKING:
    from loadgen_generic.config import BenchmarkConfig
    from loadgen_generic.environments import Environment
    from loadgen_generic.serving import Listening

__all__ = ["add_serve"]

_GROUPS = ("Session", "Device")
_OF_A_RUN = {"data_location"}
_ALSO = {"model_path", "model", "concurrency"}
_OWN = ("name", "host", "port", "http_port", "tls_certificate", "tls_key")
_LOOPBACK = "127.0.0.1"
_PORT, _HTTP_PORT = 8081, 8080  # as kserve and MLServer have them
_ABOUT = """\
Serve a model over the Open Inference Protocol (KServe v2), by gRPC and REST, with ONNX Runtime
inside: something to try --backend kserve on, and a way to have a second machine answer. It is
kserve's own server around the backend that a run measures, with the same options.

A request is one inference, with the batch that it brings; --concurrency says how many may be
under way at once, and up to 1024 more wait their turn. Each response says what it spent waiting
and computing (queue_ns and compute_ns among its parameters)."""
_EPILOG = """\
Anyone who can reach the port can use the model, and there is no password: so it listens on this
machine alone unless --host names another address (0.0.0.0 for all of them).

  here:   loadgen-generic serve model.onnx --host 0.0.0.0
  there:  loadgen-generic run --backend kserve --endpoint HERE:8081

exit codes: 0 it was ended by Ctrl-C or SIGTERM, 1 it failed, 2 the request was wrong (also a port
that is taken)"""


def add_serve(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "serve",
        help="serve a model over the Open Inference Protocol, for --backend kserve",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    taken = {name: option for name, option, _ in options() if _takes(name, option.group)}
    known = [*(s for name, option in taken.items() for s in (name, *option.aliases)), *_OWN]
    parser.set_defaults(command=_serve, name="serve", known=known)
    add_options(parser, leave_out={name for name, _, _ in options()} - taken.keys())
    own = parser.add_argument_group("Server")
    own.add_argument(
        "--name",
        dest="served_name",
        metavar="NAME",
        help="name of the model in requests (default: of its file)",
    )
    own.add_argument(
        "--host",
        default=_LOOPBACK,
        metavar="ADDRESS",
        help="address to listen on [default: 127.0.0.1, this machine alone]",
    )
    for flag, port, what in (("port", _PORT, "gRPC"), ("http_port", _HTTP_PORT, "REST")):
        own.add_argument(
            *spellings([flag]),
            type=int,
            default=port,
            metavar="PORT",
            help=f"port for {what}; 0 takes a free one and says which [default: {port}]",
        )
    for flag, what in (
        ("tls_certificate", "certificate of the server (PEM), for TLS on both ports"),
        ("tls_key", "its private key (PEM, without a password)"),
    ):
        own.add_argument(*spellings([flag]), default="", metavar="FILE", help=what)


def _takes(name: str, group: str) -> bool:
    return name in _ALSO or (group in _GROUPS and name not in _OF_A_RUN)


def _serve(parsed: argparse.Namespace) -> int:
    from loadgen_generic.serving import SERVED, Service, serve

    given = vars(parsed)
    config = parse_config({**given_options(given), **SERVED})
    if config.backend == "kserve":
        raise RequestError(
            "this asks a server, and does not serve.",
            flag="backend",
            value="kserve",
            remedy="Name a model, or take --backend fake.",
        )
    service = Service(
        name=given.get("served_name") or _name_of(config),
        host=given["host"],
        port=given["port"],
        http_port=given["http_port"],
        certificate=given["tls_certificate"],
        key=given["tls_key"],
    )
    serve(config, service, _tell)
    print("ended", file=sys.stderr)
    return 0


def _name_of(config: BenchmarkConfig) -> str:
    if config.model_path is not None:
        return Path(config.model_path).stem
    return config.model or config.backend


def _tell(listening: Listening, environment: Environment) -> None:
    where = [] if environment.is_here else [f"served under {environment.in_words()}"]
    for note in [*where, *listening.notes]:
        print(note, file=sys.stderr, flush=True)
    endpoint = listening.endpoint(listening.port)
    over = " over TLS" if listening.tls else ""
    scheme = "https" if listening.tls else "http"
    print(
        f"ready: model {listening.name}{over}, gRPC at {endpoint}, REST at "
        f"{scheme}://{listening.endpoint(listening.http_port)}; Ctrl-C ends it\n"
        f"measure it: loadgen-generic run --backend kserve --endpoint {endpoint}",
        flush=True,
    )
