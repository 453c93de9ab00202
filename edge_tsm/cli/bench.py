"""`edge-tsm bench`: every artifact of a bundle on every device of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_tsm.backends import ENGINES, RuntimeOptions, devices, installed
from edge_tsm.bundle.card import Card, Verification
from edge_tsm.cli.options import engine_option, find_bundle
from edge_tsm.cli.progress import Progress
from edge_tsm.cli.table import layout
from edge_tsm.cli.verify import status
from edge_tsm.diagnostics.benchmark import measure_variant
from edge_tsm.errors import BackendError, CardError
from edge_tsm.inference.variants import Variant, named, variants

Row = dict[str, Any]
HEAD = ("file", "engine", "device", "median", "p95", "clips/s", "memory", "golden")


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--device", help="Only this device. [default: every one that is here]")
@click.option("--variant", help="Only this file of the bundle, in this process.")
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. [default: cores]")
@click.option("--runs", type=click.IntRange(1), default=30, show_default=True, help="Timed runs.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array instead of the table.")
@engine_option
def bench(bundle: Path | None, as_json: bool, **arguments: Any) -> None:
    """Time every artifact of BUNDLE on every device of this machine.

    Each runs in a process of its own. Times are those of one run of the engine; memory is the
    process's highest; golden: do answers to the golden clips agree with those at conversion?
    """
    bundle = find_bundle(bundle)
    rows = list(_rows(bundle, arguments))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        click.echo("\n".join(layout([HEAD, *map(_line, rows)])))
    if all("error" in row for row in rows):
        raise BackendError(f"no artifact of {bundle} runs here: {rows[0]['error']}")


def _rows(bundle: Path, arguments: Row) -> Iterator[Row]:
    """Measure one variant here, or all of them in processes of their own."""
    card, progress = Card.read(bundle), Progress("measuring")
    jobs = list(_jobs(bundle, card, arguments))
    if not jobs:
        raise CardError(f"{bundle}: no artifact serves a device that is here")
    if arguments["variant"] is not None:
        for variant, device in jobs:
            options = RuntimeOptions(device, threads=arguments["threads"])
            yield _measure(bundle, card, variant, options, arguments["runs"])
        return
    for done, (variant, device) in enumerate(jobs):
        progress(done, len(jobs))
        yield _apart(bundle, variant, device, arguments)
    progress.clear()


def _jobs(bundle: Path, card: Card, arguments: Row) -> Iterator[tuple[Variant, str]]:
    for engine in [arguments["engine"]] if arguments["engine"] else filter(installed, ENGINES):
        here = [arguments["device"]] if arguments["device"] else devices(engine)
        for device in here:
            try:
                found = variants(card, bundle, (engine,), device)
            except CardError:
                continue  # this engine has no file for the device
            if arguments["variant"] is not None:
                found = [named(found, arguments["variant"])]
            yield from ((variant, device) for variant in found)


def _measure(bundle: Path, card: Card, variant: Variant, options: RuntimeOptions, runs: int) -> Row:
    try:
        return asdict(measure_variant(bundle, card, variant, options, runs=runs))
    except BackendError as error:
        return _failed(variant, options.device, str(error))


def _apart(bundle: Path, variant: Variant, device: str, arguments: Row) -> Row:
    """Measure in a fresh process, so that memory is this artifact's and a crash ends only it."""
    command = [sys.executable, "-m", "edge_tsm", "bench", str(bundle), "--json"]
    command += ["--variant", variant.file.path, "--engine", variant.engine, "--device", device]
    command += ["--runs", str(arguments["runs"])]
    if arguments["threads"]:
        command += ["--threads", str(arguments["threads"])]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        rows: list[Row] = json.loads(done.stdout)
    except ValueError:
        told = (done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"])[-1]
        return _failed(variant, device, told.removeprefix("edge-tsm: error: "))
    return rows[0]


def _failed(variant: Variant, device: str, error: str) -> Row:
    return {"file": variant.file.path, "engine": variant.engine, "device": device, "error": error}


def _line(row: Row) -> tuple[str, ...]:
    where = (row["file"], row["engine"], row["device"])
    if "error" in row:
        return (*where, "", "", "", "", f"skipped ({row['error']})")
    return (
        *where,
        f"{row['median_ms']:.1f} ms",
        f"{row['p95_ms']:.1f} ms",
        f"{row['clips_per_s']:.1f}",
        f"{row['peak_mib']:.0f} MiB",
        status(Verification(**row["agreement"])).split()[0],
    )
