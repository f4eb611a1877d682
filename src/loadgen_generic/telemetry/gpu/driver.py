"""The driver's library (NVML), through nvidia-ml-py, and a handle on each GPU.

A driver whose GPU has fallen off the bus may answer with an error, or not at all: it is opened in
a thread of its own, and a GPU that it calls lost is not asked again.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["Card", "Driver"]

_PATIENCE_SEC = 10.0  # without a persistent driver, the first call takes some seconds
_GONE = ("NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED")


@dataclass(slots=True)
class Card:
    """One GPU.

    Attributes:
        number: NVML's, which need not be CUDA's.
        handle: NVML's; None if there is none to be had.
        bus_id: of PCI, such as ``00000000:65:00.0``; empty where the driver does not tell, as is
            ``uuid``.
        lost: why it does not answer any more, in the driver's words; empty while it does.
    """

    number: int
    handle: Any
    name: str = "a GPU"
    uuid: str = ""
    bus_id: str = ""
    lost: str = ""


class Driver:
    """No cards, and no error, where nvidia-ml-py is missing or no driver answers.

    Attributes:
        cards: all of the machine, whatever ``CUDA_VISIBLE_DEVICES`` says.
        note: what the user should know of how it was opened; empty if nothing.
        why_none: why there are no cards, for a run that computes on some.
    """

    def __init__(self) -> None:
        self.cards: list[Card] = []
        self.note, self.why_none = "", ""
        self.library: Any = None
        opener = threading.Thread(target=self._open, name="GPU driver", daemon=True)
        opener.start()
        opener.join(_PATIENCE_SEC)
        if opener.is_alive():
            self.cards, self.library = [], None
            self.note = (
                f"telemetry has no GPUs: the driver did not answer within {_PATIENCE_SEC:g} s"
            )

    def ask(self, read: Callable[[Any], Any], card: Card) -> Any:
        """None where this GPU or its driver does not tell."""
        if card.lost or self.library is None:
            return None
        try:
            return read(card.handle)
        except self.library.NVMLError as error:
            gone = [getattr(self.library, name, None) for name in _GONE]
            if (code := getattr(error, "value", None)) is not None and code in gone:
                card.lost = str(error)
            return None

    def number(self, read: Callable[[Any], Any], card: Card) -> float | None:
        value = self.ask(read, card)
        return None if value is None else float(value)

    def function(self, *names: str) -> Callable[..., Any] | None:
        """The first of these that the installed nvidia-ml-py has."""
        found = (getattr(self.library, name, None) for name in names)
        return next((each for each in found if each is not None), None)

    def card_of_mig(self, uuid: str) -> Card | None:
        """The GPU that a part of one (multi-instance GPU) lies on."""
        if self.library is None:
            return None
        with suppress(self.library.NVMLError, AttributeError):
            part = self.library.nvmlDeviceGetHandleByUUID(uuid)
            whole = self.library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
            owner = _text(self.library.nvmlDeviceGetUUID(whole))
            return next((card for card in self.cards if card.uuid == owner), None)
        return None

    def close(self) -> None:
        if self.library is not None:
            with suppress(self.library.NVMLError):
                self.library.nvmlShutdown()

    def _open(self) -> None:
        try:
            import pynvml
        except ImportError:
            self.why_none = (
                "nvidia-ml-py is not installed in the Python of the command, which watches the "
                f"run: {sys.executable} -m pip install nvidia-ml-py"
            )
            return
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self.why_none = f"the driver's library says: {error}"
            return
        cards = [_card(pynvml, number) for number in range(count)]
        self.library = pynvml
        for card in cards:
            self._describe(card)
        self.cards = cards

    def _describe(self, card: Card) -> None:
        library = self.library
        card.name = _text(self.ask(lambda handle: library.nvmlDeviceGetName(handle), card)) or (
            card.name
        )
        if (uuid := self.function("nvmlDeviceGetUUID")) is not None:
            card.uuid = _text(self.ask(uuid, card))
        if (pci := self.function("nvmlDeviceGetPciInfo")) is not None:
            card.bus_id = _text(getattr(self.ask(pci, card), "busId", None))


def _card(library: Any, number: int) -> Card:
    try:
        return Card(number, library.nvmlDeviceGetHandleByIndex(number))
    except library.NVMLError as error:
        return Card(number, None, lost=str(error))


def _text(value: Any) -> str:
    """Older versions of nvidia-ml-py give bytes."""
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None else str(value)
