"""Vega, Vega-Lite and vega-embed as one script, from the package that draws without a browser.

Making it takes more than a second, so it is kept; the package's version is in the file's name.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version

from loadgen_generic.results.result import write_text
from loadgen_generic.rundir import cache_dir

__all__ = ["vega_script"]


def vega_script() -> str:
    """JavaScript that defines ``vegaEmbed``."""
    import vl_convert

    kept = cache_dir() / f"vega-{version('vl-convert-python')}.js"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    # Where it cannot be kept, the page is the same and the next one takes as long again.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, script)
    return script
