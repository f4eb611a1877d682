"""What LoadGen's QSL holds. A new kind of data is one new :class:`Source` here."""

from loadgen_generic.samples.dataset import open_dataset, sizes_of_dataset
from loadgen_generic.samples.files import FileSource
from loadgen_generic.samples.images import ImageWishes
from loadgen_generic.samples.library import Samples
from loadgen_generic.samples.synthetic import SyntheticSamples, pool_size

__all__ = [
    "FileSource",
    "ImageWishes",
    "Samples",
    "SyntheticSamples",
    "open_dataset",
    "pool_size",
    "sizes_of_dataset",
]
