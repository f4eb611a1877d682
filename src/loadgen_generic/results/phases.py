"""How the time of an inference divides, on a GPU or on a server."""

from __future__ import annotations

from loadgen_generic.results.record import Record

__all__ = ["Phases"]


class Phases(Record):
    """Medians of some batches that one worker infers alone, after the test.

    Attributes:
        copy_in_us: on a GPU, from where samples start, see ``data_location``, to where the model
            reads them; null elsewhere.
        compute_us: of the model alone; on a server, as it reports it.
        copy_out_us: of the answers, to memory of the host; null where it is not a GPU.
        network_us: all that a request to a server takes besides what that reports: the way there
            and back, and encoding and decoding at both ends; null without one.
        queue_us: waiting in the server, as it reports it; null without one.
        batch_size: samples in a batch.
        data_location: where samples start.
    """

    copy_in_us: float | None = None
    compute_us: float
    copy_out_us: float | None = None
    network_us: float | None = None
    queue_us: float | None = None
    batch_size: int
    data_location: str
