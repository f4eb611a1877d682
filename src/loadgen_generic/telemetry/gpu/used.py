"""Which of the driver's GPUs a run computes on, from CUDA's numbers of them.

CUDA counts the GPUs that ``CUDA_VISIBLE_DEVICES`` lets it see, in the order that
``CUDA_DEVICE_ORDER`` says: by PCI bus, or by default the fastest first, of which NVIDIA says no
more; GPUs of one kind then lie by bus as well, which is what is assumed here. Of different ones it
is unknown, unless the measured process was seen on as many GPUs as it asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from loadgen_generic.provider_facts import PROVIDERS, facts_of
from loadgen_generic.telemetry.gpu.driver import Card, Driver

__all__ = ["Used", "used_cards"]

_ORDER, _VISIBLE = "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"
_NO_PROVIDER = "none"  # of the fake backend


@dataclass(frozen=True, slots=True)
class Used:
    """Attributes:
    numbers: NVML's, of the GPUs in use; None where that is not known.
    assumed: what was assumed to find them, for the user; empty if nothing.
    """

    numbers: frozenset[int] | None
    assumed: str = ""


def used_cards(
    driver: Driver, effective: Mapping[str, Any], environ: Mapping[str, str], seen: Collection[int]
) -> Used:
    """
    Args:
        effective: the configuration in force.
        environ: that the measured process has.
        seen: NVML's numbers of the GPUs that it was seen on.
    """
    provider = str(effective.get("execution_provider", _NO_PROVIDER))
    facts = facts_of(provider)
    if not facts.cards:
        none = facts in PROVIDERS or provider == _NO_PROVIDER
        return Used(frozenset() if none else None)
    if not driver.cards:
        return Used(None)
    devices = [int(number) for number in effective.get("devices") or [0]]
    order, sure = _cuda_order(driver, environ)
    found = frozenset(
        card.number for device in devices if device < len(order) and (card := order[device])
    )
    if not sure and len(seen) == len(devices):
        return Used(frozenset(seen))
    if len(found) < len(set(devices)):
        return Used(
            None,
            f"telemetry cannot tell which of the driver's GPUs are CUDA's {_listed(devices)}, by "
            f"{_VISIBLE}={environ.get(_VISIBLE, '')}",
        )
    if sure:
        return Used(found)
    return Used(
        found,
        f"telemetry takes CUDA's GPU {_listed(devices)} for the driver's {_listed(sorted(found))}, "
        f"by their bus; they are of different kinds and {_ORDER} is not PCI_BUS_ID, so CUDA may "
        "count them in another order",
    )


def _cuda_order(driver: Driver, environ: Mapping[str, str]) -> tuple[list[Card | None], bool]:
    """The GPUs by CUDA's numbers, None for one that is not found, and whether that is sure."""
    cards = sorted(driver.cards, key=lambda card: card.bus_id)
    by_bus = environ.get(_ORDER, "").upper() == "PCI_BUS_ID"
    sure = by_bus or len({card.name for card in cards}) == 1
    visible = environ.get(_VISIBLE)
    if visible is None:
        return list(cards), sure
    order: list[Card | None] = []
    by_number = False
    for word in (part.strip() for part in visible.split(",")):
        if word.lstrip("-").isdigit():
            by_number = True
            if not 0 <= int(word) < len(cards):
                break  # CUDA ignores it and all that follow
            order.append(cards[int(word)])
        else:
            order.append(_named(driver, word))
    return order, sure or not by_number


def _named(driver: Driver, uuid: str) -> Card | None:
    """By a UUID, of which CUDA takes the first digits too if they are enough."""
    if uuid.startswith("MIG-"):
        return driver.card_of_mig(uuid)
    found = [card for card in driver.cards if uuid and card.uuid.startswith(uuid)]
    return found[0] if len(found) == 1 else None


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers))
