"""What `import edge_tsm` offers."""

from __future__ import annotations

import importlib.metadata
import inspect

import pytest

import edge_tsm
from edge_tsm import errors


def test_the_public_names_are_few_and_have_an_example() -> None:
    assert 25 <= len(edge_tsm.__all__) <= 40
    for name in set(edge_tsm.__all__) - {"__version__"}:
        assert ">>>" in (inspect.getdoc(getattr(edge_tsm, name)) or ""), f"{name}: no example"


def test_a_name_that_is_not_there_is_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        edge_tsm.laod  # noqa: B018
    assert set(edge_tsm.__all__) <= set(dir(edge_tsm))


def test_the_version_is_the_package_s() -> None:
    assert edge_tsm.__version__ == importlib.metadata.version("edge-tsm")


def test_every_error_has_its_own_exit_code() -> None:
    leaves = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.EdgeTsmError)
    ]
    codes = [kind.exit_code for kind in leaves]
    assert len(codes) == len(set(codes))
    assert 0 not in codes
    assert issubclass(errors.CardError, ValueError)
    assert issubclass(errors.SourceError, OSError)
