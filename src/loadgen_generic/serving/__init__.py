"""A local server of the Open Inference Protocol with our backend inside.

The command starts a child (``child``), which loads the model as a run would (``loading``) and puts
it behind kserve's endpoints (``entry``, ``server``, ``model``). What a request must look like and
who answers it (``datatypes``, ``requests``, ``workers``) knows nothing of kserve.
"""

from __future__ import annotations

from loadgen_generic.serving.child import serve
from loadgen_generic.serving.loading import SERVED
from loadgen_generic.serving.service import Listening, Service

__all__ = ["SERVED", "Listening", "Service", "serve"]
