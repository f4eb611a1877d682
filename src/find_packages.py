"""Exit with 0 if this Python has the modules and distributions named, without importing any.

Two arguments, each a list of names with commas. Folders where we are do not count as modules.
"""

import sys
from importlib.metadata import distribution
from importlib.util import find_spec

sys.path[:] = [path for path in sys.path[1:] if path]
modules, distributions = (names.split(",") for names in sys.argv[1:])
for name in modules:
    spec = find_spec(name)
    if not (spec and spec.origin):
        sys.exit(1)
for name in filter(None, distributions):
    distribution(name)
