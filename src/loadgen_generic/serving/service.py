"""What a server is asked to be, and where it came up."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

from loadgen_generic.errors import RequestError

__all__ = ["Listening", "Service"]

_EVERYWHERE = ("0.0.0.0", "::")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Service:
    """A server as asked for.

    Attributes:
        name: of the model, in requests.
        host: address to listen on.
        port, http_port: for gRPC and REST; 0 for a free one.
        certificate, key: files in PEM; empty for no TLS.
    """

    name: str
    host: str
    port: int
    http_port: int
    certificate: str = ""
    key: str = ""

    def checked(self) -> Service:
        """The same with absolute paths.

        Raises:
            RequestError: a port that is none, or a certificate and a key that are no pair.
        """
        for flag, port in (("port", self.port), ("http_port", self.http_port)):
            if not 0 <= port <= _LAST_PORT:
                raise RequestError(
                    f"expected a port from 0 (a free one) to {_LAST_PORT}.", flag=flag, value=port
                )
        if self.port == self.http_port != 0:
            raise RequestError(
                "gRPC and REST need a port each.", flag="http_port", value=self.http_port
            )
        given = {"tls_certificate": self.certificate, "tls_key": self.key}
        for flag, file in given.items():
            if not file and any(given.values()):
                raise RequestError("a certificate and its key go together.", flag=flag)
        if not any(given.values()):
            return self
        for flag, file in given.items():
            if not Path(file).expanduser().is_file():
                raise RequestError("there is no such file.", flag=flag, value=file)
        certificate, key = (str(Path(each).expanduser().absolute()) for each in given.values())
        try:
            # gRPC would take anything, and then refuse every client.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:
            raise RequestError(
                f"it and --tls_key {self.key} are no pair: {error}.",
                flag="tls_certificate",
                value=self.certificate,
                remedy="Give both as files in PEM, the key without a password.",
            ) from None
        return replace(self, certificate=certificate, key=key)

    def listen(self) -> tuple[socket.socket, socket.socket]:
        """Sockets bound to the ports for gRPC and REST.

        Raises:
            RequestError: a port or the address cannot be had.
        """
        for_grpc = _bound("port", self.host, self.port)
        return for_grpc, _bound("http_port", self.host, self.http_port)

    def endpoint(self, port: int) -> str:
        """The address and a port as gRPC writes them."""
        return _joined(self.host, port)


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that is ready.

    Attributes:
        name: of the model.
        host: the address that it listens on.
        port, http_port: for gRPC and REST.
        tls: whether both want TLS.
        notes: for the user.
    """

    name: str
    host: str
    port: int
    http_port: int
    tls: bool
    notes: list[str]

    def endpoint(self, port: int) -> str:
        """For a client, which needs this machine's name where the server listens everywhere."""
        return _joined(socket.gethostname() if self.host in _EVERYWHERE else self.host, port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(flag: str, host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _no_such_address(host, error) from None
    taken = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # after an earlier server; elsewhere it would steal the port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
        taken.listen()
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_address(host, error) from None
        raise RequestError(
            f"cannot listen there: {error.strerror}.",
            flag=flag,
            value=port,
            remedy="Choose another port; 0 takes a free one and says which.",
        ) from None
    return taken


def _no_such_address(host: str, error: OSError) -> RequestError:
    return RequestError(
        f"this machine has no such address: {error.strerror}.",
        flag="host",
        value=host,
        remedy="Give one of its own, 127.0.0.1 for this machine alone, or 0.0.0.0 for all.",
    )
