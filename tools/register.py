"""Let CM find this checkout: link it into CM's local repository, or copy it there.

CM looks into its local repository first, so what lies there wins over a script of the
same uid elsewhere. ``CM_REPOS`` names the CM home; without it, it is ~/CM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

UID = "d3d949cc361747a6"
ALIAS = "app-loadgen-generic-python"
CHECKOUT = Path(__file__).resolve().parent.parent

# What CM needs of the checkout where links are not allowed.
NEEDED = ("_cm.yaml", "customize.py", "run.sh", "run.bat", "src")
# A copy carries this file, so that it can be told from a folder that somebody made.
COPY_NOTE = "copied-from.json"


class RegisterError(Exception):
    """Something stands in the way that only the user can remove."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--unregister", action="store_true", help="undo it")
    parser.add_argument("--cm", default=_default_cm(), help="the cm command (%(default)s)")
    parser.add_argument("--copy", action="store_true", help="copy even where links are allowed")
    chosen = parser.parse_args(arguments)
    place = script_place()
    try:
        if chosen.unregister:
            done = unregister(place, chosen.cm)
        else:
            done = register(place, chosen.cm, copy=chosen.copy)
    except RegisterError as error:
        print(f"register: {error}", file=sys.stderr)
        return 1
    print(done)
    return 0


def script_place() -> Path:
    """Where CM's local repository expects the script."""
    home = os.environ.get("CM_REPOS", "").strip()
    base = home or str(Path.home() / "CM")
    return Path(os.path.abspath(base), "repos", "local", "script", ALIAS)


def register(place: Path, cm: str, *, copy: bool = False) -> str:
    """Make CM find the checkout at ``place``; says what was done."""
    if not copy and _is_our_link(place) and _indexed(place):
        return f"CM already finds {place} -> {CHECKOUT}"
    if not place.parent.parent.is_dir():
        _run(cm, "find", "repo")  # CM makes its home on first use
    _clear(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    linked = not copy and _link(place)
    if not linked:
        _copy(place)
    _run(cm, "reindex", "repo")
    _assert_first(place, cm)
    return f"CM finds {place} {'->' if linked else 'copied from'} {CHECKOUT}"


def unregister(place: Path, cm: str) -> str:
    """Take the link or the copy away again; says what was done."""
    if not os.path.lexists(place):
        return f"nothing to undo: there is no {place}"
    if place.is_symlink() and not _is_our_link(place):
        raise RegisterError(f"{place} leads to {place.resolve()}, not to {CHECKOUT}. Remove it.")
    _clear(place)
    _run(cm, "reindex", "repo")
    return f"removed {place}"


def _default_cm() -> str:
    beside = shutil.which("cm", path=str(Path(sys.executable).parent))
    return beside or shutil.which("cm") or "cm"


def _is_our_link(place: Path) -> bool:
    return place.is_symlink() and place.resolve() == CHECKOUT


def _indexed(place: Path) -> bool:
    """Whether CM's index has ``place`` for our uid; read without starting CM."""
    try:
        index = json.loads((place.parents[3] / "index.json").read_text("utf-8"))
        return _same(index["script"][UID]["path"], place)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _same(path: str, place: Path) -> bool:
    # Not resolved: a script of another repository may be a link to this checkout too.
    return os.path.abspath(path) == str(place)


def _clear(place: Path) -> None:
    """Remove an earlier link or copy of ours; refuse anything else."""
    if place.is_symlink():
        target = place.resolve()
        if target != CHECKOUT and _uid_in(target) != UID and target.exists():
            raise RegisterError(f"{place} leads to {target}, which is not this script. Remove it.")
        place.unlink()
    elif (place / COPY_NOTE).is_file():
        shutil.rmtree(place)
    elif os.path.lexists(place):
        raise RegisterError(
            f"{place} is there and was not put there by this tool. Move it away, and try again."
        )


def _uid_in(folder: Path) -> str:
    meta = folder / "_cm.yaml"
    lines = meta.read_text("utf-8").splitlines() if meta.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("uid:")), "")


def _link(place: Path) -> bool:
    try:
        place.symlink_to(CHECKOUT, target_is_directory=True)
    except (OSError, NotImplementedError):  # Windows without the privilege, some file systems
        return False
    return True


def _copy(place: Path) -> None:
    place.mkdir()
    (place / COPY_NOTE).write_text(json.dumps({"checkout": str(CHECKOUT)}), "utf-8")
    for name in NEEDED:
        source = CHECKOUT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, place / name, ignore=ignore)
        else:
            shutil.copy2(source, place / name)


def _assert_first(place: Path, cm: str) -> None:
    found = [line for line in _run(cm, "find", "script", UID).splitlines() if line.strip()]
    first = found[0] if found else "nothing"
    if not _same(first, place):
        raise RegisterError(
            f"for {UID} CM finds {first} before {place}. Remove that one, or name another "
            "CM home in CM_REPOS."
        )


def _run(cm: str, *arguments: str) -> str:
    try:
        done = subprocess.run([cm, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise RegisterError(
            f"{cm} does not start ({error}). Install CM (pip install cmind cmx4mlops) or name "
            "the command with --cm."
        ) from None
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip()
        raise RegisterError(f"{cm} {' '.join(arguments)} failed: {output}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
