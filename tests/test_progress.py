"""Counters in shared memory, as two processes see them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from loadgen_generic.progress import Phase, Progress

WRITER = """
import sys
from pathlib import Path
from loadgen_generic.progress import Phase, Progress
progress = Progress(Path(sys.argv[1]))
counters = [progress.counter() for _ in range(3)]
progress.enter(Phase.TESTING)
for (words, position), samples in zip(counters, (2, 40, 600)):
    words[position] = samples
print("written", flush=True)
sys.stdin.readline()
"""


def test_another_process_reads_while_the_writer_lives(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    Progress.create(file)
    reader = Progress(file)
    assert (reader.phase(), reader.answered()) == (Phase.STARTING, 0)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    assert (reader.phase(), reader.answered()) == (Phase.TESTING, 642)
    writer.communicate("\n", timeout=60)
    assert writer.returncode == 0
    assert reader.answered() == 642, "what a dead writer wrote stays"
    reader.close()


def test_each_thread_counts_on_its_own(tmp_path: Path) -> None:
    Progress.create(tmp_path / "p")
    progress = Progress(tmp_path / "p")

    counters = [progress.counter() for _ in range(4)]

    def count(number: int) -> None:
        words, position = counters[number]
        for answered in range(5000):
            words[position] = (answered + 1) * number

    threads = [threading.Thread(target=count, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.answered() == 5000 * (0 + 1 + 2 + 3)


def test_room_for_as_many_workers_as_the_schema_allows(tmp_path: Path) -> None:
    Progress.create(tmp_path / "p")
    progress = Progress(tmp_path / "p")
    for _ in range(4096 + 1):
        words, position = progress.counter()
        words[position] = 1
    assert progress.answered() == 4097


def test_closing_lets_the_file_go(tmp_path: Path) -> None:
    Progress.create(tmp_path / "p")
    progress = Progress(tmp_path / "p")
    progress.enter(Phase.LOADING)
    progress.beat()
    assert (progress.beats(), progress.answered()) == (1, 0)
    progress.close()
    (tmp_path / "p").unlink()
