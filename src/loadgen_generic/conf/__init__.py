"""LoadGen's configuration files: what they may say, what they say, and the one built into it."""

from __future__ import annotations

from loadgen_generic.conf.builtin import builtin_conf, check_model, model_names
from loadgen_generic.conf.files import Conf, Setting, read_conf
from loadgen_generic.conf.keys import ANY, KEYS

__all__ = [
    "ANY",
    "KEYS",
    "Conf",
    "Setting",
    "builtin_conf",
    "check_model",
    "model_names",
    "read_conf",
]
