"""What LoadGen's QSL holds. A new kind of data is one new :class:`Source` here."""

from loadgen_generic.samples.library import Samples
from loadgen_generic.samples.synthetic import SyntheticSamples, pool_size

__all__ = ["Samples", "SyntheticSamples", "pool_size"]
