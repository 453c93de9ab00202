"""A page that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.pages import PageRun, layers_of, page_run

TOKEN = "correct horse battery staple"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A page of this machine: nobody has to sign in."""
    layers = layers_of(tmp_path_factory.mktemp("open"), "on = 0.6\n")
    cameras = {"porch": "test://160x120/30", "hall": "test://64x48/30"}
    with page_run(layers=layers, cameras=cameras) as run:
        yield run


@pytest.fixture(scope="session")
def closed_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageRun]:
    """A page with a token."""
    layers = layers_of(tmp_path_factory.mktemp("closed"))
    cameras = {"porch": "test://160x120/30"}
    with page_run(layers=layers, token=TOKEN, cameras=cameras) as run:
        yield run
