"""Which interpreter has the ONNX Runtime that a run needs.

ONNX Runtime's packages exclude one another: each brings the same module, built with other
execution providers. So a provider may live in an environment of its own, and the process that
measures runs under that environment's interpreter. Everything here is read from files: no
interpreter is started, and ONNX Runtime is not imported.
"""

from __future__ import annotations

from loadgen_generic.environments.choosing import for_provider, how_to_make, known, named
from loadgen_generic.environments.companion import environment_with
from loadgen_generic.environments.reading import NEEDED, Environment, here
from loadgen_generic.environments.starting import ended_by, start_module

__all__ = [
    "NEEDED",
    "Environment",
    "ended_by",
    "environment_with",
    "for_provider",
    "here",
    "how_to_make",
    "known",
    "named",
    "start_module",
]
