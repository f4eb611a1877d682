"""What a campaign leaves behind if it ends before its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loadgen_generic.campaigns.journal import Journal
from loadgen_generic.config import BenchmarkConfig
from loadgen_generic.errors import InterruptedRunError, LoadgenGenericError, RunError
from loadgen_generic.supervisor import ERROR_FILE, write_error

__all__ = ["kept"]


@contextmanager
def kept(journal: Journal, config: BenchmarkConfig, what: str) -> Iterator[None]:
    """Write why it ended, and tell the user how to go on.

    Args:
        what: one run of the campaign, in messages.

    Raises:
        InterruptedRunError: in place of a bare Ctrl-C as well.
    """
    (journal.directory / ERROR_FILE).unlink(missing_ok=True)
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError):
        again = "run the same command again"
        if config.output_dir is None:
            again += f" with --output_dir {journal.directory}"
        error = InterruptedRunError(
            f"interrupted; {len(journal.runs)} finished {what}(s) are in {journal.directory}. "
            f"To go on, {again}"
        )
        write_error(journal.directory, error)
        raise error from None
    except LoadgenGenericError as error:
        write_error(journal.directory, error)
        raise
    except OSError as error:
        failed = RunError(
            f"cannot write in {journal.directory}: {error.strerror or error}. Make room there, "
            "then run the same command again to go on."
        )
        write_error(journal.directory, failed)
        raise failed from None
