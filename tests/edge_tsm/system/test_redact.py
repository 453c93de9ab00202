"""No secret of an address is ever shown."""

from __future__ import annotations

import pytest

from edge_tsm.system.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/ch1", "rtsp://***@10.0.0.7:554/ch1"),
        ("rtsp://admin:p@ss/w:rd@cam/ch1", "rtsp://***@cam/ch1"),
        ("http://cam/video?user=x&password=hunter2&fps=5", "http://cam/video?user=x&password=***&fps=5"),
        ("https://cam/v?api_key=abc&Token=d", "https://cam/v?api_key=***&Token=***"),
        ('src location="rtsp://a:b@cam/1" ! x', 'src location="rtsp://***@cam/1" ! x'),
        ("rtspsrc user-id=bob user-pw='hun ter2' ! x", "rtspsrc user-id=*** user-pw=*** ! x"),
        ("error opening rtsp://a:b@c/1: refused", "error opening rtsp://***@c/1: refused"),
        ("/dev/video0", "/dev/video0"),
        ("clips/me@home.mp4", "clips/me@home.mp4"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown
