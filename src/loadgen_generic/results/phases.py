"""How the time of an inference on a GPU divides."""

from __future__ import annotations

from loadgen_generic.results.record import Record

__all__ = ["Phases"]


class Phases(Record):
    """Medians of some batches that one worker infers alone, after the test.

    Attributes:
        copy_in_us: from where samples start, see ``data_location``, to where the model reads them.
        compute_us: of the model alone.
        copy_out_us: of the answers, to memory of the host.
        batch_size: samples in a batch.
        data_location: where samples start.
    """

    copy_in_us: float
    compute_us: float
    copy_out_us: float
    batch_size: int
    data_location: str
