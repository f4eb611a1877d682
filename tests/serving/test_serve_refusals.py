"""What ``loadgen-generic serve`` says before anything is started; without kserve."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from command import Command

from loadgen_generic.errors import RequestError
from loadgen_generic.serving import Listening, Service


def service(**given: object) -> Service:
    return Service(**{"name": "m", "host": "127.0.0.1", "port": 0, "http_port": 0, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": 65536}, "--port 65536: expected a port from 0 (a free one) to 65535"),
        ({"http_port": -1}, "--http_port -1: expected a port"),
        ({"port": 8081, "http_port": 8081}, "--http_port 8081: gRPC and REST need a port each"),
        ({"certificate": "a.crt"}, "--tls_key: a certificate and its key go together"),
        ({"key": "a.key"}, "--tls_certificate: a certificate and its key go together"),
        ({"certificate": "no.crt", "key": "no.key"}, "--tls_certificate no.crt: there is no such"),
    ],
)
def test_services_that_cannot_be(given: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError) as refused:
        service(**given).checked()
    assert words in str(refused.value)


def test_files_that_are_no_pair(tmp_path: Path) -> None:
    for name in ("a.crt", "a.key"):
        (tmp_path / name).write_text("nothing of the kind")
    with pytest.raises(RequestError, match="are no pair") as refused:
        service(certificate=str(tmp_path / "a.crt"), key=str(tmp_path / "a.key")).checked()
    assert "Give both as files in PEM" in str(refused.value)


def test_ports_are_had_before_anything_is_loaded() -> None:
    free = service().listen()
    port = free[0].getsockname()[1]
    with pytest.raises(RequestError, match=f"--http_port {port}: cannot listen there"):
        service(http_port=port).listen()
    for each in free:
        each.close()
    with pytest.raises(RequestError, match=r"--host 192\.0\.2\.1: this machine has no such"):
        service(host="192.0.2.1").listen()


def test_endpoints_for_clients() -> None:
    def listening(host: str) -> Listening:
        return Listening("m", host, 1, 2, False, [])

    assert listening("127.0.0.1").endpoint(1) == "127.0.0.1:1"
    assert listening("::1").endpoint(1) == "[::1]:1"
    assert listening("0.0.0.0").endpoint(1) == f"{socket.gethostname()}:1"


def test_a_model_that_is_not_there(command: Command) -> None:
    outcome = command("serve", "nowhere.onnx")
    assert outcome.code == 2
    assert "--modelpath nowhere.onnx: there is no such file" in outcome.stderr


def test_without_kserve(command: Command, tmp_path: Path) -> None:
    python = tmp_path / "serve" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    here = Command(
        command.directory, {**command.environ, "LOADGEN_GENERIC_ENVIRONMENTS": str(tmp_path)}
    )
    outcome = here("serve", backend="fake", port=0, http_port=0)
    assert outcome.code == 1
    assert "serving needs the package kserve" in outcome.stderr
    assert "make venv EP=serve" in outcome.stderr


def test_a_flag_that_there_is_not(command: Command) -> None:
    outcome = command("serve", "model.onnx", http_prt=1)
    assert outcome.code == 2
    assert "Did you mean --http_port?" in outcome.stderr
