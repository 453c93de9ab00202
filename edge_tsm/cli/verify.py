"""`edge-tsm verify`: does this machine answer as the checkpoint did?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cloup

from edge_tsm.cli.options import ADDRESS, collect, fetched, runtime_options
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import BackendError, VerificationError
from edge_tsm.system.printable import printable
from edge_tsm.system.width import columns_of, left


@cloup.command()
@click.argument("address", metavar="BUNDLE", type=ADDRESS)
@runtime_options
def verify(address: str | Path, engine: str | None, **arguments: Any) -> None:
    """Replay the golden clips of BUNDLE on this machine, with every artifact it can run.

    agree: within the tolerance proven at conversion. drifted: the same top-1, other logits.
    broken: other answers, or a damaged file. Only agreement on all of them exits with 0.
    """
    options, bundle = collect(arguments), fetched(address)
    replays = verify_bundle(bundle, options, engine=engine)
    names = [printable(replay.variant.file.path) for replay in replays]
    width = max(map(columns_of, names))
    for name, replay in zip(names, replays, strict=True):
        device = replay.device
        click.echo(f"{left(name, width)} {replay.variant.engine} {device}: {replay.summary}")
    if all(replay.status is Status.SKIPPED for replay in replays):
        raise BackendError(f"no artifact of {bundle} runs on {options.device} like that")
    failures = {Status.DRIFTED, Status.BROKEN}
    failed = [replay.variant.file.path for replay in replays if replay.status in failures]
    if failed:
        raise VerificationError(
            f"{', '.join(failed)} on {options.device}: not what was proven at conversion; use "
            "another device or --precision f32, or copy the bundle again"
        )
