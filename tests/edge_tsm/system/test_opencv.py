"""OpenCV is imported late, and never given a name that crashes it."""

from __future__ import annotations

import os
import sys

import pytest

from edge_tsm.errors import SinkError, SourceError
from edge_tsm.system.opencv import check_name, opencv


def test_names_that_are_utf8_pass() -> None:
    check_name("Größe/视频.mp4")


def test_a_name_that_is_not_utf8_is_an_error_of_the_asked_kind() -> None:
    name = os.fsdecode(b"lat\xfcn.avi")
    with pytest.raises(SourceError, match="not valid UTF-8"):
        check_name(name)
    with pytest.raises(SinkError, match="not valid UTF-8"):
        check_name(name, error_type=SinkError)


def test_opencv_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opencv.cache_clear()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SourceError, match=r"OpenCV is needed .*edge-tsm\[camera\]"):
        opencv()
