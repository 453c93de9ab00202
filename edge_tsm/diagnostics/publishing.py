"""A bundle for others to download: checked here first, with a README that says what was proven."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tsm.bundle.addresses import RULES_FILE, Address, parse_address, store_of
from edge_tsm.bundle.card import CARD_FILE, GOLDEN_FILE, Card
from edge_tsm.bundle.modelcard import Accuracy, model_card
from edge_tsm.diagnostics.verify import Status, verify_bundle
from edge_tsm.errors import InputError, VerificationError

README = "README.md"
REPORTS = ("report.html", "report.md", "report.json")


@dataclass(frozen=True)
class Publication:
    """A bundle's files by their names to be, and the text of its README."""

    files: dict[str, Path]
    readme: str


def prepare(
    bundle: Path, address: str, license_id: str, accuracies: Sequence[Accuracy] = ()
) -> Publication:
    """Check a bundle on this machine and write its README.

    Raises:
        InputError: a license that is no identifier, or no address to publish at.
        CardError: not a bundle, or (`DamageError`) a damaged one.
        VerificationError: an artifact does not answer here as at conversion.
    """
    _place(address)
    card = Card.read(bundle)
    readme = model_card(card, address, license_id, accuracies)
    for replay in verify_bundle(bundle):
        if replay.status in (Status.BROKEN, Status.DRIFTED):
            raise VerificationError(
                f"{replay.variant} is {replay.summary} here; what is published is proven first"
            )
    listed = [name for file in card.files.values() for name in (file.path, *file.parts)]
    names = [CARD_FILE, GOLDEN_FILE, *listed, RULES_FILE, *REPORTS]
    files = {name: bundle / name for name in names if (bundle / name).is_file()}
    return Publication(files, readme)


def publish(publication: Publication, address: str, *, private: bool = False) -> str:
    """Upload a bundle; return the URL to look at.

    Raises:
        InputError: no address to publish at.
        HubError: it is refused, or nobody answers.
    """
    place = _place(address)
    with tempfile.TemporaryDirectory() as folder:
        readme = Path(folder) / README
        readme.write_text(publication.readme, encoding="utf-8")
        return store_of(place).upload(place, {**publication.files, README: readme}, private=private)


def _place(address: str) -> Address:
    place = parse_address(address)
    if place is None or place.file:
        raise InputError(f"{address} is no address to publish at: write hf://ORG/NAME[@BRANCH]")
    return place
