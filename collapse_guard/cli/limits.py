"""Options of every command that compares rows: how much memory and how many threads."""

from __future__ import annotations

from typing import Annotated

import typer

MaxMemory = Annotated[
    str | None,
    typer.Option("--max-memory", help="Memory for comparing rows, such as 700MB; what does not fit goes to disk."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads for comparing rows; all cores if left out.")
]
