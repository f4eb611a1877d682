"""What LoadGen's QSL holds."""

from loadgen_generic.samples.synthetic import SyntheticSamples, pool_size

__all__ = ["SyntheticSamples", "pool_size"]
