"""``loadgen-generic serve`` with a real kserve, asked by a bare tritonclient.

The environment with both is one that is there already (``serve`` in LOADGEN_GENERIC_ENVIRONMENTS,
or ``.venv-serve``), else one that is made here, which fetches about 300 MB.
"""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_models
from command import Command
from onnx import TensorProto, helper
from servers import Client, RefusedError, Server, tensor

pytestmark = pytest.mark.slow

Serving = Callable[..., Server]
Ask = Callable[..., Client]

# One word of the protocol each: what goes in, and comes back.
ENDS = {
    "BOOL": (TensorProto.BOOL, [[True, False, True]]),
    "UINT8": (TensorProto.UINT8, [[0, 1, 255]]),
    "UINT16": (TensorProto.UINT16, [[0, 1, 65535]]),
    "UINT32": (TensorProto.UINT32, [[0, 1, 2**32 - 1]]),
    "UINT64": (TensorProto.UINT64, [[0, 1, 2**64 - 1]]),
    "INT8": (TensorProto.INT8, [[-128, 0, 127]]),
    "INT16": (TensorProto.INT16, [[-(2**15), 0, 2**15 - 1]]),
    "INT32": (TensorProto.INT32, [[-(2**31), 0, 2**31 - 1]]),
    "INT64": (TensorProto.INT64, [[-(2**63), 0, 2**63 - 1]]),
    "FP16": (TensorProto.FLOAT16, [[-0.5, 0.0, 65504.0]]),
    "FP32": (TensorProto.FLOAT, [[-0.5, 0.0, 2.0**127]]),
    "FP64": (TensorProto.DOUBLE, [[-0.1, 0.0, 2.0**1023]]),
}


def identities(directory: Path, types: dict[str, int]) -> Path:
    """Each input comes back, its name in small letters: [N, 3] to [N, 3]."""
    of = helper.make_tensor_type_proto
    nodes = [helper.make_node("Identity", [name], [name.lower()]) for name in types]
    model = tiny_models.awkward(
        nodes,
        {name: of(kind, ["N", 3]) for name, kind in types.items()},
        {name.lower(): of(kind, ["N", 3]) for name, kind in types.items()},
    )
    path = directory / "identities.onnx"
    path.write_bytes(model)
    return path


def rest(
    server: Server, path: str, body: object = None, trust: ssl.SSLContext | None = None
) -> Any:
    """Status and JSON of a call over REST."""
    request = urllib.request.Request(
        server.rest + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, context=trust) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_every_element_type_comes_and_goes(serving: Serving, ask: Ask, tmp_path: Path) -> None:
    types = {name: kind for name, (kind, _) in ENDS.items()}
    client = ask(serving(identities(tmp_path, types)).endpoint)
    sent = [tensor(name, name, data * 2) for name, (_, data) in ENDS.items()]
    outputs = client.infer("identities", *sent)["outputs"]
    for name, (_, data) in ENDS.items():
        assert outputs[name.lower()] == {"datatype": name, "shape": [2, 3], "data": data * 2}


def test_strings_beside_numbers(serving: Serving, ask: Ask, tmp_path: Path) -> None:
    types = {"BYTES": TensorProto.STRING, "FP16": TensorProto.FLOAT16}
    client = ask(serving(identities(tmp_path, types)).endpoint)
    texts = ["", "ä longer one than sixteen letters", "日本"]
    asked = tensor("BYTES", "BYTES", [texts]), tensor("FP16", "FP16", [[1.5, 2.5, -3.5]])
    outputs = client.infer("identities", *asked)["outputs"]
    assert outputs["bytes"] == {"datatype": "BYTES", "shape": [1, 3], "data": texts}
    assert outputs["fp16"]["data"] == [[1.5, 2.5, -3.5]]


@pytest.fixture
def two_inputs(serving: Serving, models: Callable[[str], Path]) -> Server:
    """``y = a + b``: a is FP32 [N, 4], b is INT64 [N, 4]."""
    return serving(models("two_inputs"), name="sum")


A, B = tensor("a", "FP32", [[0.5, 1, 2, 3]]), tensor("b", "INT64", [[10, 20, 30, 40]])


def test_what_a_client_is_told(two_inputs: Server, ask: Ask) -> None:
    client = ask(two_inputs.endpoint)
    assert client("ready", model="sum") == [True, True, True]
    assert client("metadata", model="sum") == {
        "name": "sum",
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": ["-1", "4"]},
            {"name": "b", "datatype": "INT64", "shape": ["-1", "4"]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "4"]}],
    }
    answer = client.infer("sum", B, A)
    assert answer["id"] == "17"
    assert answer["outputs"]["y"]["data"] == [[10.5, 21, 32, 43]]
    assert answer["parameters"].keys() == {"queue_ns", "compute_ns"}
    assert min(answer["parameters"].values()) > 0
    assert rest(two_inputs, "/v2/health/ready") == (200, {"ready": True})
    assert rest(two_inputs, "/v2/models") == (200, {"models": ["sum"]})
    body = {"inputs": [{**A, "data": A["data"][0]}, {**B, "data": B["data"][0]}]}
    status, told = rest(two_inputs, "/v2/models/sum/infer", body)
    assert (status, told["outputs"][0]["data"]) == (200, [10.5, 21, 32, 43])


def test_what_is_wrong_is_said_to_the_client(two_inputs: Server, ask: Ask) -> None:
    client = ask(two_inputs.endpoint)
    cases: list[tuple[str, list[Any], dict[str, Any], str, str]] = [
        ("sum", [A], {}, "INVALID_ARGUMENT", "input b is missing: the model takes a FP32[-1, 4]"),
        ("sum", [A, B, {**A, "name": "z"}], {}, "INVALID_ARGUMENT", "there is no input z"),
        ("sum", [A, {**A, "name": "b"}], {}, "INVALID_ARGUMENT", "input b is FP32, and the model"),
        ("sum", [tensor("a", "FP32", [[1.0]]), B], {}, "INVALID_ARGUMENT", "has shape [1, 1]"),
        ("sum", [{**A, "shape": [3, 4]}, B], {}, "INVALID_ARGUMENT", "dimension N is 3 in input a"),
        ("sum", [{**A, "shape": [3, 4]}, {**B, "shape": [3, 4]}], {}, "INVALID_ARGUMENT",
         "the contents of input a are not FP32[3, 4]"),
        ("sum", [A, B], {"outputs": ["x"]}, "INVALID_ARGUMENT", "there is no output x"),
        ("other", [A, B], {}, "NOT_FOUND", "other does not exist"),
    ]  # fmt: skip
    for model, inputs, more, status, words in cases:
        with pytest.raises(RefusedError) as refused:
            client.infer(model, *inputs, **more)
        assert refused.value.status == f"StatusCode.{status}"
        assert words in str(refused.value)
    status, told = rest(two_inputs, "/v2/models/sum/infer", {"inputs": [{**A, "data": [1, 2]}, B]})
    assert status == 400
    assert "the contents of input a are not FP32[1, 4]" in told["error"]
    assert client.infer("sum", A, B)["outputs"]["y"]["data"] == [[10.5, 21, 32, 43]]
    _, said = two_inputs.stop(signal.SIGTERM)
    assert "input b is missing" in said
    assert "Traceback" not in said


def test_a_failed_inference_is_no_end(serving: Serving, ask: Ask) -> None:
    server = serving(backend="fake", backend_options="fail_at=2", concurrency=1)
    client, x = ask(server.endpoint), tensor("x", "FP32", [[2.0]])
    assert client.infer("fake", x)["outputs"]["y"]["data"] == [[2.0]]
    with pytest.raises(RefusedError, match="the fake backend failed") as refused:
        client.infer("fake", x)
    assert refused.value.status == "StatusCode.INTERNAL"
    assert client.infer("fake", x)["outputs"]["y"]["data"] == [[2.0]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_port_is_free_again(
    number: signal.Signals, serving: Serving
) -> None:
    server = serving(backend="fake")
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert family
    code, said = server.stop(number)
    assert code == 0, said
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=10)[1]
    port = int(server.endpoint.rpartition(":")[2])
    serving(backend="fake", port=port)


def test_a_command_that_is_killed_leaves_no_server(serving: Serving) -> None:
    server = serving(backend="fake")
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    assert not psutil.wait_procs(family, timeout=10)[1]


def test_a_server_that_dies(serving: Serving, ask: Ask) -> None:
    server = serving(backend="fake", backend_options="die_at=1")
    with pytest.raises(RefusedError):
        ask(server.endpoint).infer("fake", tensor("x", "FP32", [[1.0]]))
    code, said = server.finish()
    assert code == 1
    assert "the server died (SIGKILL)" in said


@pytest.mark.parametrize("flag", ["port", "http_port"])
def test_a_port_that_is_taken(flag: str, at_kserve: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = {"port": 0, "http_port": 0, flag: port}
        outcome = at_kserve("serve", backend="fake", **flags)
    assert outcome.code == 2
    assert f"--{flag} {port}: cannot listen there" in outcome.stderr


def test_a_type_that_the_protocol_lacks(at_kserve: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.element(TensorProto.BFLOAT16))
    outcome = at_kserve("serve", path, port=0, http_port=0)
    assert outcome.code == 2
    assert "input x: tensor(bfloat16)" in outcome.stderr
    assert "the Open Inference Protocol has no such element type" in outcome.stderr


_MAKE_PAIR = """
import datetime, ipaddress, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
now = datetime.datetime.now(datetime.timezone.utc)
one = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
pair = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    .add_extension(x509.SubjectAlternativeName([one]), False)
    .add_extension(x509.BasicConstraints(True, None), True)
    .sign(key, hashes.SHA256())
)
pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
open(sys.argv[1], "wb").write(pair.public_bytes(pem))
form = serialization.PrivateFormat.PKCS8
open(sys.argv[2], "wb").write(key.private_bytes(pem, form, plain))
"""


@pytest.fixture
def pair(kserve: Path, tmp_path: Path) -> Callable[[str], tuple[str, str]]:
    """Makes a certificate for 127.0.0.1, and its key."""

    def make(name: str) -> tuple[str, str]:
        files = str(tmp_path / f"{name}.crt"), str(tmp_path / f"{name}.key")
        python = kserve / "serve" / "bin" / "python"
        subprocess.run([python, "-c", _MAKE_PAIR, *files], check=True)
        return files

    return make


def test_tls_on_both_ports(
    serving: Serving, ask: Ask, pair: Callable[[str], tuple[str, str]]
) -> None:
    (certificate, key), (other, _) = pair("own"), pair("other")
    server = serving(backend="fake", tls_certificate=certificate, tls_key=key)
    assert server.rest.startswith("https://")
    assert ask(server.endpoint, certificate)("ready", model="fake") == [True, True, True]
    assert rest(server, "/v2/health/live", trust=ssl.create_default_context(cafile=certificate))
    for root in (None, other):
        with pytest.raises(RefusedError):
            ask(server.endpoint, root)("ready", model="fake")
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        rest(server, "/v2/health/live", trust=ssl.create_default_context(cafile=other))
