"""Progress of work with a known end, on stderr: a bar on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Reached: TypeAlias = Callable[[int], None]
"""Hears how much is done by now, in all; more than the total is the total."""

_TITLE_CHARACTERS: Final = 34


@contextmanager
def counting(console: Console, title: str, total: int) -> Iterator[Reached]:
    """Shows how far something is; on a terminal the bar stays when it is done."""
    if not console.is_terminal:
        yield _tenths(console, title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:
        task = shown.add_task(f"{title:<{_TITLE_CHARACTERS}}", total=total)
        yield lambda done: shown.update(task, completed=min(done, total))


def _tenths(console: Console, title: str, total: int) -> Reached:
    started, said = time.monotonic(), -1

    def reached(done: int) -> None:
        nonlocal said
        tenth = 10 if total == 0 else min(done, total) * 10 // total
        if tenth > said:
            said = tenth
            line = f"{title}: {min(done, total):,} of {total:,} ({time.monotonic() - started:.1f} s)"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    return reached


@contextmanager
def saying(console: Console) -> Iterator[Callable[[str, str], None]]:
    """Shows where things stand, a stage and a detail: always the latest on a terminal, the stages alone elsewhere."""
    if console.is_terminal:
        with console.status("") as status:
            yield lambda stage, detail: status.update(f"{stage}: {detail}")
        return
    said: list[str] = []

    def say(stage: str, detail: str) -> None:
        if stage not in said[-1:]:
            said.append(stage)
            console.print(f"{stage}: {detail}", highlight=False, markup=False, soft_wrap=True)

    yield say
