"""Options of a provider that it does not take, and what OpenVINO says of its devices."""

from __future__ import annotations

import re
from collections.abc import Callable

from loadgen_generic.diagnosis.finding import Finding
from loadgen_generic.provider_facts import facts_of

__all__ = ["find_wrong_option"]

_FLAG = "ep_options"
_UNKNOWN = re.compile(
    r'Unknown provider option: "(?P<cuda>[^"]+)"|Invalid OpenVINO EP option: (?P<openvino>\S+)'
)
_UNPARSED = re.compile(r'Failed to parse provider option "(?P<name>[^"]+)"')
_VALUE = re.compile(
    r'Failed to (?:parse value|map enum name to value): "?(?P<value>[^"\n]+?)"?\s*$'
)
_NO_CARD = re.compile(
    r"Invalid device ID: (?P<asked>-?\d+), must be between 0 \(inclusive\) and (?P<count>\d+)"
    r"|Device id should be less than total number of devices \((?P<total>\d+)\)"
)
_NO_DEVICE = re.compile(r"\[OpenVINO\] Device (?P<name>\S+) is not available")
_OPENVINO = re.compile(r"\[ERROR\] \[OpenVINO(?:-EP)?\]\s*(?P<sentence>.+)")
_PROPERTY = re.compile(r"Unsupported property (?P<name>\S+) by (?P<device>\S+) plugin")
_JSON = re.compile(r"JSON parsing error:.*?parse error(?P<where>.*)")
_NOT_A_NUMBER = re.compile(r"Create\] stoi\b|^stoi$|what\(\):\s+stoi", re.MULTILINE)
_NUMBERS = "num_streams, num_of_threads and the like take whole numbers."


def find_wrong_option(provider: str, said: str) -> Finding | None:
    """Which option the provider refused, or which device it does not have.

    Args:
        provider: ONNX Runtime's name.
        said: what ONNX Runtime and the libraries printed.
    """
    for find in _FINDERS:
        found = find(facts_of(provider).short, said)
        if found is not None:
            return found
    return None


def _unknown(short: str, said: str) -> Finding | None:
    match = _UNKNOWN.search(said)
    if match is None:
        return None
    name = match["cuda"] or match["openvino"]
    return Finding(
        f"the {short} provider has no option {name}.",
        facts_of(short).suggestion(name),
        _FLAG,
    )


def _no_card(_: str, said: str) -> Finding | None:
    match = _NO_CARD.search(said)
    if match is None:
        return None
    count = int(match["count"] or match["total"])
    asked = f" with the number {match['asked']}" if match["asked"] else " with this number"
    cards = {0: "There is none", 1: "There is one, number 0"}.get(
        count, f"There are {count}, numbers 0 to {count - 1}"
    )
    return Finding(f"there is no GPU{asked}. {cards}.", "Name one that is there.", "devices")


def _unparsed(short: str, said: str) -> Finding | None:
    match = _UNPARSED.search(said)
    if match is None:
        return None
    value = _VALUE.search(said[match.end() :])
    told = f" the value {value['value']}" if value else " this value"
    return Finding(
        f"the option {match['name']} of the {short} provider does not take{told}.",
        "ONNX Runtime's page on this provider lists the values.",
        _FLAG,
    )


def _no_device(_: str, said: str) -> Finding | None:
    match = _NO_DEVICE.search(said)
    if match is None:
        return None
    return Finding(
        f"OpenVINO sees no device {match['name']} here.",
        "`loadgen-generic doctor` lists those that it sees; leave device_type away for the CPU.",
        _FLAG,
    )


def _property(_: str, said: str) -> Finding | None:
    match = _PROPERTY.search(said)
    if match is None:
        return None
    return Finding(
        f"OpenVINO's {match['device']} has no property {match['name']}, which load_config names.",
        "OpenVINO's page on the device lists its properties.",
        _FLAG,
    )


def _json(_: str, said: str) -> Finding | None:
    match = _JSON.search(said)
    if match is None:
        return None
    return Finding(
        f"load_config is not JSON{match['where'].rstrip('. ')}.",
        'Write it as in load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}.',
        _FLAG,
    )


def _openvino(_: str, said: str) -> Finding | None:
    match = _OPENVINO.search(said)
    if match is None:
        return None
    sentence = match["sentence"].strip().rstrip(".")
    return Finding(f"OpenVINO says: {sentence}.", "", _FLAG)


def _not_a_number(short: str, said: str) -> Finding | None:
    if short != "openvino" or not _NOT_A_NUMBER.search(said):
        return None
    return Finding("OpenVINO takes one of the options for no number.", _NUMBERS, _FLAG)


_Find = Callable[[str, str], Finding | None]
_FINDERS: tuple[_Find, ...] = (
    _no_card,
    _unknown,
    _unparsed,
    _no_device,
    _property,
    _json,
    _openvino,
    _not_a_number,
)
