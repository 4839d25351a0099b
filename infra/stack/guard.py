"""What the supervisor really starts: clears leftovers of the same part, then becomes the part.

`python -m infra.stack.guard PART HOME WAIT_S -- command ...`

Leftovers exist when a part was killed and its own children live on (Python workers of a dead task manager), or
when the supervisor died and a new one takes over. Two brokers on one folder or two writers on one table must
never be, so the old one is stopped before the new one starts. The command replaces this process (exec): the
supervisor's pid is the part's pid. It is written to run/<part>.pid, and @PID@ in the command stands for it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from infra.stack import processes
from infra.stack.files import write_atomic
from infra.stack.processes import pid_file

SCRATCH = "KEFULAKE_SUPERVISED_SCRATCH"
"""Environment variable: a folder to empty before the start (65 MB and its RocksDB files a killed task manager)."""


def clear_leftovers(part: str, home: Path, wait_s: float) -> int:
    """Stops older processes of the part; returns how many there were."""
    leftovers = [process for process, its_part in processes.of_home(home) if its_part == part]
    processes.stop_all(leftovers, wait_s)
    return len(leftovers)


def main(arguments: list[str]) -> None:
    """Clears and execs; exits 64 on a wrong call."""
    if len(arguments) < 5 or arguments[3] != "--":
        sys.exit("usage: guard PART HOME WAIT_S -- command ...")
    part, home, wait_s, _, *command = arguments
    cleared = clear_leftovers(part, Path(home), float(wait_s))
    if cleared:
        sys.stderr.write(f"{part}: stopped {cleared} process(es) left over from before\n")
        sys.stderr.flush()
    if os.environ.get(SCRATCH):
        shutil.rmtree(os.environ[SCRATCH], ignore_errors=True)
        Path(os.environ[SCRATCH]).mkdir(parents=True, exist_ok=True)
    write_atomic(pid_file(Path(home), part), str(os.getpid()))
    command = [word.replace("@PID@", str(os.getpid())) for word in command]
    os.execvpe(command[0], command, os.environ)  # noqa: S606 - the part itself, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
