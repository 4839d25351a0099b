"""`kefulake up` and `kefulake down`."""

from __future__ import annotations

from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from infra.stack import lifecycle, observe
from infra.stack.settings import Settings

console = Console()


class PartProgress:
    """One live line a part on a terminal; one printed line a finished part elsewhere (logs, CI)."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(), TextColumn("[bold]{task.description:<16}"), TextColumn("{task.fields[doing]}"),
            TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> PartProgress:
        if console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if console.is_terminal:
            self._bars.stop()

    def tell(self, part: str, doing: str) -> None:
        """Shows what a part is doing now."""
        ended = doing.startswith(("ready", "already", "stopped", "left over"))
        if not console.is_terminal:
            if ended:
                console.print(f"  {part}: {doing}")
            return
        if part not in self._tasks:
            self._tasks[part] = self._bars.add_task(part, total=1, doing=doing)
        self._bars.update(self._tasks[part], doing=doing[:80], completed=1 if ended else 0)


def up(
    only: Annotated[str | None, typer.Option(help="Start these parts only, e.g. kafka,mariadb.")] = None,
    extra: Annotated[str | None, typer.Option("--with", help="Start these as well, e.g. trino.")] = None,
) -> None:
    """Start the stack; what runs already stays as it is."""
    settings = Settings.load()
    with PartProgress() as progress:
        parts = lifecycle.up(settings, only=_names(only), extra=_names(extra), tell=progress.tell)
        if "job-keeper" in {part.name for part in parts}:
            observe.await_jobs(settings, progress.tell)
    from jobs.ops.status import print_jobs, print_parts

    print_parts(settings, console)
    print_jobs(settings, console)


def down() -> None:
    """Stop the stack; its data stays in the home folder."""
    settings = Settings.load()
    with PartProgress() as progress:
        lifecycle.down(settings, progress.tell)
    console.print(f"Stopped. The data stays in {settings.home}; kefulake up brings it back.")


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] if text else None
