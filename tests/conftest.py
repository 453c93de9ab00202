"""Fixtures: the shared reference data where present, and bundles made once per session."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from tests.helpers.paths import SHARED, module_at

# How long an example takes depends on what else the machine does; pytest-timeout bounds the test.
settings.register_profile("edge-tsm", deadline=None, derandomize=True)
settings.load_profile("edge-tsm")


_CACHE = tempfile.TemporaryDirectory(prefix="edge-tsm-test-cache-")


def pytest_configure() -> None:
    """Tests, docstring examples and processes they start neither read nor fill the user's cache."""
    os.environ["EDGE_TSM_CACHE"] = _CACHE.name


def pytest_unconfigure() -> None:
    _CACHE.cleanup()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with goldens, clips and trained weights."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"no reference data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def golden_recipe(shared: Path) -> ModuleType:
    return module_at(shared / "golden/recipe.py", "recipe")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained checkpoint in the official format: ResNet-18, 8 segments, 5 classes."""
    pytest.importorskip("torch", reason="making a checkpoint needs torch")
    from tests.helpers.upstream import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "resnet18")


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle: the one EDGE_TSM_TEST_BUNDLE names, else converted here (which needs torch)."""
    given = os.environ.get("EDGE_TSM_TEST_BUNDLE")
    if given:
        return Path(given).resolve()
    pytest.importorskip("torch", reason="no EDGE_TSM_TEST_BUNDLE, and making one needs torch")
    from converters.builder import Settings, convert

    target = tmp_path_factory.mktemp("bundle") / "gestures.bundle"
    return convert(request.getfixturevalue("checkpoint"), target, settings=Settings(f16=True))
