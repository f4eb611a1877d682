"""Directories that look like Python environments, or are some with packages of other names."""

from __future__ import annotations

import shutil
import sysconfig
import venv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from loadgen_generic.environments import NEEDED

__all__ = ["OPENVINO", "OWN", "add_package", "make", "make_like_ours"]

# What the RECORD of every package of ONNX Runtime lists.
OWN = frozenset({"onnxruntime/__init__.py,sha256=x,1", "onnxruntime/capi/_state.py,sha256=x,1"})
OPENVINO = {"onnxruntime-openvino": "9.8.7"}


def add_package(site: Path, name: str, version: str, files: Iterable[str] = OWN) -> None:
    """Metadata as pip leaves it, without the package."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("\n".join(sorted(files)) + "\n")


def make(
    directory: Path,
    packages: Mapping[str, str],
    *,
    python: str = "3.11",
    lacking: tuple[str, ...] = (),
    config: bool = True,
) -> Path:
    """An environment to look at; its interpreter says of every module that it lacks it."""
    site = directory / "lib" / f"python{python}" / "site-packages"
    site.mkdir(parents=True)
    (directory / "bin").mkdir()
    (directory / "bin" / "python").write_text('#!/bin/sh\nshift 2\necho "$@"\n')
    (directory / "bin" / "python").chmod(0o755)
    if config:
        (directory / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {python}.4\n")
    for name, version in packages.items():
        add_package(site, name, version)
    for name in NEEDED.keys() - set(lacking):
        add_package(site, name, "1.0", ())
    return directory / "bin" / "python"


def make_like_ours(
    directory: Path, without: str, link: Callable[[Path, Path], object] | None = None
) -> Path:
    """An environment with the packages of the running one, less those whose name starts so.

    Args:
        link: takes a file and where it should be as well; without it, whole packages are symbolic
            links, and pip must not touch them.

    Returns:
        Its site-packages.
    """
    venv.create(directory, symlinks=True)
    (site,) = directory.glob("lib/python3*/site-packages")
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name.startswith(without):
            continue
        if link is None:
            (site / entry.name).symlink_to(entry)
        elif entry.is_dir():
            shutil.copytree(entry, site / entry.name, copy_function=link, dirs_exist_ok=True)
        else:
            link(entry, site / entry.name)
    return site
