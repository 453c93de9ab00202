"""`edge-tsm bench`: every artifact of a bundle on every device of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.cli.options import ADDRESS, engine_option, find_bundle, threads_option
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.table import layout
from edge_tsm.diagnostics.benchmark import (
    Failed,
    Job,
    Measured,
    Selection,
    measure,
    measure_apart,
    select,
)
from edge_tsm.diagnostics.verify import Status
from edge_tsm.errors import BackendError
from edge_tsm.system.jsontext import to_json

Row = Measured | Failed
HEAD = ("file", "engine", "device", "median", "p95", "clips/s", "memory", "golden")


@cloup.command()
@click.argument("bundle", required=False, type=ADDRESS)
@click.option("--device", help="Only this device. [default: all of this machine]")
@click.option("--variant", help="Only this file of the bundle, in this process.")
@threads_option
@click.option("--runs", type=click.IntRange(1), default=30, show_default=True, help="Timed runs.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of the table.")
@engine_option
def bench(
    bundle: str | Path | None, threads: int | None, runs: int, as_json: bool, **selected: Any
) -> None:
    """Time every artifact of BUNDLE on every device of this machine.

    Each runs in a process of its own. Times are those of one run of the engine; memory is the
    process's highest; golden: do answers to the golden clips agree with those at conversion? Not
    proven: int8 judged on too few clips, which runs by --variant only.
    """
    found, selection = find_bundle(bundle), Selection(**selected)
    jobs = select(found, selection, threads=threads, runs=runs)
    rows = list(map(measure, jobs) if selection.variant else _apart(jobs))
    if as_json:
        click.echo(to_json(list(map(asdict, rows)), indent=1))
    else:
        click.echo("\n".join(layout([HEAD, *map(_line, rows)])))
    failed = [row for row in rows if isinstance(row, Failed)]
    if len(failed) == len(rows):
        raise BackendError(f"no artifact of {found} runs here: {failed[0].error}")


def _apart(jobs: Sequence[Job]) -> Iterator[Row]:
    progress = Progress("measuring")
    for done, job in enumerate(jobs):
        progress(done, len(jobs))
        yield measure_apart(job)
    progress.clear()


def _line(row: Row) -> tuple[str, ...]:
    where = (row.file, row.engine, row.device)
    if isinstance(row, Failed):
        return (*where, "", "", "", "", f"skipped ({row.error})")
    return (
        *where,
        f"{row.median_ms:.1f} ms",
        f"{row.p95_ms:.1f} ms",
        f"{row.clips_per_s:.1f}",
        f"{row.peak_mib:.0f} MiB",
        Status.of(row.agreement).value + ("" if row.proven else ", not proven"),
    )
