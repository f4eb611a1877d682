"""What LoadGen's QSL holds. A new kind of data is one new :class:`Source` here."""

from loadgen_generic.samples.dataset import Dataset, open_dataset, sizes_of_dataset
from loadgen_generic.samples.files import FileSource, labels_of
from loadgen_generic.samples.images import ImageWishes
from loadgen_generic.samples.library import Samples
from loadgen_generic.samples.mixed import MixedSamples, Shape, draw_sizes, generated_shape
from loadgen_generic.samples.presets import PRESETS
from loadgen_generic.samples.synthetic import SyntheticSamples, pool_size

__all__ = [
    "PRESETS",
    "Dataset",
    "FileSource",
    "ImageWishes",
    "MixedSamples",
    "Samples",
    "Shape",
    "SyntheticSamples",
    "draw_sizes",
    "generated_shape",
    "labels_of",
    "open_dataset",
    "pool_size",
    "sizes_of_dataset",
]
