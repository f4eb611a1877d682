"""Start the harness on a request that customize.py wrote."""

import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))


def report_missing(error: ImportError, request: pathlib.Path) -> int:
    """Tell customize.py, which waits for a report, what this Python lacks."""
    message = (
        f"{sys.executable} lacks a package that the benchmark needs ({error}). "
        f"Install it: {sys.executable} -m pip install {error.name or 'loadgen_generic'}"
    )
    report = json.loads(request.read_text("utf-8"))["report"]
    content = {"status": "error", "exit_code": 1, "error": message}
    pathlib.Path(report).write_text(json.dumps(content), "utf-8")
    return 1


if __name__ == "__main__":
    # customize.py lets the shells in between ignore Ctrl-C, and what they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        from loadgen_generic.request import main
    except ImportError as error:
        sys.exit(report_missing(error, pathlib.Path(sys.argv[1])))
    sys.exit(main(sys.argv[1]))
