"""Secrets that are named instead of written out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_tsm.errors import InputError
from edge_tsm.sources.names import NamedAddress
from edge_tsm.system.secrets import clean_secret, resolve, warn_of_visible_secrets

SECRET = "rtsp://admin:hunter2@cam/1"


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_from_the_environment_or_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = secret_file(tmp_path, f"  {SECRET}\r\n".encode())
    assert resolve("env:CAM", {"CAM": SECRET + "\n"}) == SECRET
    assert resolve(f"file:{path}") == SECRET
    assert NamedAddress.parse(f"porch=file:{path}") == NamedAddress(SECRET, "porch")
    assert resolve(f"file://{path}") == f"file://{path}"
    assert not caplog.records


def test_a_file_that_others_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = secret_file(tmp_path, SECRET.encode(), 0o644)
    assert resolve(f"file:{path}") == SECRET
    assert "others can read it; chmod 600" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "is empty"),
        (b"hunter2\nsecond", "line end or another control"),
        (b"hunter2\0", "control character"),
        (b"hunter2\xff", "not text in UTF-8"),
        (b"x" * 70_000, "larger than"),
    ],
    ids=["empty", "lines", "zero", "bytes", "large"],
)
def test_what_is_no_secret(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        resolve(f"file:{secret_file(tmp_path, content)}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["env:NOT_SET_HERE", "file:/nowhere/x", "file:/dev/zero", "file:"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"is not set|No such file|not a regular file"):
        resolve(name, {})


def test_a_line_end_is_dropped_and_nothing_is_quoted() -> None:
    assert clean_secret("hunter2\r\n", "TOKEN") == "hunter2"
    with pytest.raises(InputError, match="TOKEN: holds a line end") as caught:
        clean_secret("hun\nter2", "TOKEN")
    assert "ter2" not in str(caught.value)


def test_only_secrets_that_ps_shows_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_visible_secrets([SECRET, "test://64x48/5"], ["run", "--camera", "porch=env:CAM"])
        warn_of_visible_secrets(["test://64x48/5"], ["run", "--camera", "test://64x48/5"])
        assert not caplog.records
        warn_of_visible_secrets([SECRET, SECRET], ["run", "--camera", f"porch={SECRET}"])
    [record] = caplog.records
    assert "`ps` shows" in record.getMessage()
    assert "hunter2" not in record.getMessage()
