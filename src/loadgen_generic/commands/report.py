"""``loadgen-generic report``: what people look at, made again from the logs of finished runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadgen_generic.commands.options import Parser
from loadgen_generic.errors import LoadgenGenericError, RequestError, RunError

if TYPE_CHECKING:
    from loadgen_generic.report.reading import Figures

__all__ = ["add_report"]

_FORMATS = ("html", "md", "csv", "json", "png")
_NOT_TEXT = ("html", "png")
_STDOUT = "-"
_EPILOG = """\
examples:
  loadgen-generic report results/*                 report.html in each run's directory
  loadgen-generic report DIR --format md --output -    read it here
  loadgen-generic report A B C --format csv        one table, a line for each run
  loadgen-generic report DIR --format png --output charts.png

DIR is the directory of a run, of a campaign (--repeat, --mode find_peak), or any directory with
LoadGen's own logs: mlperf_log_detail.txt is enough, whatever program wrote it. With LoadGen's
trace beside it (--trace; enable_trace in other programs) all latencies are shown.

exit codes: 0 the reports were written, 1 one cannot be written or drawn, 2 a directory holds no
finished run or the request was wrong, 130 interrupted"""


def add_report(commands: Any) -> None:
    parser: Parser = commands.add_parser(
        "report",
        help="make the report of finished runs again, from their logs",
        description="Read LoadGen's logs and what lies beside them, and write what they say as a "
        "page, a text, a table, a document for programs or a picture.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    known = ["format", "output", "force", "quiet"]
    parser.set_defaults(command=_report, name="report", known=known)
    parser.add_argument("directories", nargs="+", metavar="DIR", help="where a finished run is")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="html",
        help="html: a page that needs no network; md: text; csv: a table with a line for each "
        "run; json: all figures and the bins of the charts; png: the charts [default: html]",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="the file to write, - for standard output; of several DIRs a directory, which is "
        "made if need be (csv: a file) [default: report.FORMAT in each DIR; csv of several DIRs: "
        "standard output]",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that --output names")
    parser.add_argument("--quiet", action="store_true", help="no progress and no list of files")


def _report(parsed: argparse.Namespace) -> int:
    directories = [Path(each).expanduser() for each in parsed.directories]
    if parsed.format == "csv" and (len(directories) > 1 or parsed.output):
        return _one_table(directories, parsed)
    failed: list[LoadgenGenericError] = []
    for directory, path in zip(directories, _paths(directories, parsed), strict=True):
        try:
            _write(_read(directory, parsed.quiet), path, parsed)
        except LoadgenGenericError as error:  # the others are reported all the same
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        words = "\n  ".join(str(error) for error in failed)
        told = f"{len(failed)} of {len(directories)} have no report:\n  {words}"
        requests = all(isinstance(error, RequestError) for error in failed)
        raise RequestError(told) if requests else RunError(told)
    return 0


def _one_table(directories: list[Path], parsed: argparse.Namespace) -> int:
    from loadgen_generic.report.formats import table

    path = Path(parsed.output or _STDOUT).expanduser()
    _check_free(path, parsed.force)
    text = table([_read(directory, parsed.quiet) for directory in directories])
    _write_text(text, path, parsed.quiet)
    return 0


def _paths(directories: list[Path], parsed: argparse.Namespace) -> list[Path]:
    """Where each report goes.

    Raises:
        RequestError: there is something already, or the format has no way there.
    """
    if parsed.output is None:
        return [directory / f"report.{parsed.format}" for directory in directories]
    output = Path(parsed.output).expanduser()
    if str(output) == _STDOUT:
        if parsed.format in _NOT_TEXT or len(directories) > 1:
            what = "is for one DIR" if len(directories) > 1 else f"does not take {parsed.format}"
            raise RequestError(
                f"{what}.", flag="output", value=_STDOUT, remedy="Give a path to write to."
            )
        return [output]
    if len(directories) == 1:
        paths = [output / f"report.{parsed.format}" if output.is_dir() else output]
    else:
        if output.exists() and not output.is_dir():
            raise RequestError(
                "is a file, and of several DIRs it has to be a directory.",
                flag="output",
                value=output,
                remedy="Name a directory; it is made if need be.",
            )
        names = _names(directories)
        paths = [output / f"{name}.{parsed.format}" for name in names]
    for path in paths:
        _check_free(path, parsed.force)
    return paths


def _names(directories: list[Path]) -> Iterator[str]:
    """The name of each directory, with as many of those above as tell them apart."""
    parts = [directory.resolve().parts for directory in directories]
    for own in parts:
        depth = 1
        while sum(each[-depth:] == own[-depth:] for each in parts) > 1 and depth < len(own):
            depth += 1
        yield "-".join(own[-depth:]).strip("/\\:") or "root"


def _check_free(path: Path, force: bool) -> None:
    if str(path) == _STDOUT or force:
        return
    if path.is_dir() or path.exists():
        raise RequestError(
            "is there already.",
            flag="output",
            value=path,
            remedy="Give another path, or --force to replace it.",
        )


def _read(directory: Path, quiet: bool) -> Figures:
    from loadgen_generic.report.writing import read_aloud

    def note(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    return read_aloud(directory, note)


def _write(figures: Figures, path: Path, parsed: argparse.Namespace) -> None:
    from loadgen_generic.report.formats import document, markdown, table

    match parsed.format:
        case "md":
            _write_text(markdown(figures), path, parsed.quiet)
        case "csv":
            _write_text(table([figures]), path, parsed.quiet)
        case "json":
            text = json.dumps(document(figures), ensure_ascii=False, allow_nan=False)
            _write_text(text + "\n", path, parsed.quiet)
        case _:
            _write_drawn(figures, path, parsed.format)
            _say_where(path, parsed.quiet)


def _write_drawn(figures: Figures, path: Path, kind: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "png":
            from loadgen_generic.report.page.png import write_png

            write_png(figures, path)
        else:
            from loadgen_generic.report.page import write_page

            write_page(figures, path)
    except OSError as error:
        raise _unwritten(path, error) from None


def _write_text(text: str, path: Path, quiet: bool) -> None:
    from loadgen_generic.results.result import write_text

    if str(path) == _STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise _unwritten(path, error) from None
    _say_where(path, quiet)


def _unwritten(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path} cannot be written: {error.strerror or error}. Give another place with --output."
    )


def _say_where(path: Path, quiet: bool) -> None:
    if not quiet:
        print(path)
