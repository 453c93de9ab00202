"""`edge-tsm info`: what is in a bundle."""

from __future__ import annotations

import math
from pathlib import Path

import click
import cloup

from edge_tsm.bundle.card import Card, Sampling
from edge_tsm.cli.options import ADDRESS, fetched
from edge_tsm.cli.table import layout


@cloup.command()
@click.argument("bundle", type=ADDRESS)
@click.option("--json", "as_json", is_flag=True, help="The card as it is.")
def info(bundle: str | Path, as_json: bool) -> None:
    """Print the card of BUNDLE."""
    card = Card.read(fetched(bundle))
    if as_json:
        click.echo(card.to_json())
        return
    click.echo("\n".join(layout(_rows(card))))


def _rows(card: Card) -> list[tuple[str, str]]:
    sampling, preprocess = card.sampling, card.preprocess
    lines = [
        ("name", card.name),
        ("labels", f"{len(card.labels)}: {_some(card.labels)}"),
        ("family", card.family),
        *((name.replace("_", " "), str(value)) for name, value in card.arch.items()),
        ("mode", "online" if card.online else "clip"),
        ("input", f"{card.input.form} {card.layout}"),
        ("sampling", f"{sampling.rule}, {sampling.segments} segments{_interval(sampling)}"),
        *_live(card),
        (
            "preprocess",
            f"short side {preprocess.resize.short_side_px}, crop {preprocess.crop_px}, "
            f"{preprocess.color}",
        ),
    ]
    for name, file in card.files.items():
        proven = card.verification.get(name)
        proof = f", max |Δ| {proven.max_rel_diff:.1e} of the logit range" if proven else ""
        unproven = "" if file.proven else ", not proven: runs by --variant only"
        lines.append((name, f"{file.engine} {file.precision}{proof}{unproven}"))
    lines.append(("checkpoint", f"sha256 {card.provenance.checkpoint_sha256[:16]}…"))
    lines.append(("made with", ", ".join(f"{k} {v}" for k, v in card.provenance.tools.items())))
    return lines


def _interval(sampling: Sampling) -> str:
    if sampling.interval is None:
        return ""
    rate = f" at {sampling.fps:g} fps" if sampling.fps else ""
    return f", {sampling.interval} frames apart{rate}"


def _live(card: Card) -> list[tuple[str, str]]:
    every = f"an answer every {card.sampling.every_s:g} s"
    if card.streaming is None:
        return [("live", f"last {card.sampling.window_s:g} s, {every}")]
    streaming, floats = card.streaming, sum(math.prod(cache.shape) for cache in card.state)
    return [
        (
            "live",
            f"{streaming.fps:g} steps a second, {every} on the last {streaming.horizon} steps "
            f"({card.sampling.window_s:g} s)",
        ),
        ("state", f"{len(card.state)} caches, {floats * 4 / 1024:.1f} KiB"),
    ]


def _some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:6]) + (" …" if len(labels) > 6 else "")
