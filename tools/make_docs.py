"""Write README.md, docs/generator.html and the generated blocks of _cm.yaml, or check them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from cm_meta import renew_blocks
from cm_page import page
from generator import generator_page

ROOT = Path(__file__).resolve().parent.parent
META = ROOT / "_cm.yaml"
README = ROOT / "README.md"
GENERATOR = ROOT / "docs" / "generator.html"
# What `make run` printed, recorded by hand when it changes.
TRANSCRIPT = ROOT / "docs" / "transcript.txt"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if something is stale"
    )
    check = parser.parse_args(arguments).check

    meta = renew_blocks(META.read_text(encoding="utf-8"))
    transcript = TRANSCRIPT.read_text(encoding="utf-8") if TRANSCRIPT.exists() else ""
    parsed = yaml.safe_load(meta)
    wanted = {META: meta, README: page(parsed, transcript), GENERATOR: generator_page(parsed)}
    stale = [path for path, text in wanted.items() if _read(path) != text]
    for path in stale:
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
        print(f"{path.name}: {'stale, run `make docs`' if check else 'renewed'}")
    return 1 if check and stale else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
