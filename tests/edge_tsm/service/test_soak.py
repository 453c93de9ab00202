"""Two faulty cameras and every sink at once: benchmarks/soak.py, for a minute of virtual time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.timeout(120)


def test_no_event_is_missing_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from soak import soak

    with caplog.at_level(logging.CRITICAL, logger="edge_tsm"):
        found = soak(2000, tmp_path)
    assert found["frames"] == 2000
    assert isinstance(found["events"], int)
    assert found["events"] > 20
    gone = ("missing_in_file", "missing_at_server", "files_without_row", "rows_without_file")
    assert {name: found[name] for name in (*gone, "without_end")} == dict.fromkeys(
        (*gone, "without_end"), 0
    )
    assert found["lost_by_sink"] == {}
    assert found["threads_more"] == 0
    assert list((tmp_path / "recording").iterdir())
