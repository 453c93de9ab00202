"""Ids of sources, and how an address on the command line gets one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_tsm.errors import InputError
from edge_tsm.sources.names import NamedAddress, source_ids

IDS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@given(IDS, st.text(min_size=1))
def test_a_name_and_any_address(name: str, address: str) -> None:
    assert NamedAddress.parse(f"{name}={address}") == NamedAddress(address, name)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://camera/1?channel=1",
        "v4l2src device=/dev/video0 ! videoconvert",
        "av:rtsp://camera/?a=b",
        "clips/a=b.mp4",
        "=clip.mp4",
        "name=",
        "a b=clip.mp4",
        "..=clip.mp4",
        "n" * 65 + "=clip.mp4",
        "a" * 60 + "/" + "b" * 5000 + "=c",
    ],
)
def test_an_address_with_an_equals_sign_is_taken_whole(text: str) -> None:
    assert NamedAddress.parse(text) == NamedAddress(text)


def test_a_file_that_looks_like_a_name_and_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take=2.mp4").touch()
    assert NamedAddress.parse("take=2.mp4") == NamedAddress("take=2.mp4")
    assert NamedAddress.parse("take=3.mp4") == NamedAddress("3.mp4", "take")


def test_ids_are_the_names_or_the_places() -> None:
    assert source_ids([None, "porch", None]) == ["0", "porch", "2"]
    with pytest.raises(InputError, match="two sources are called '0'"):
        source_ids([None, "0"])


@pytest.mark.parametrize("name", ["", "a b", "ü", "a/b", "..", "a\n", "x" * 65])
def test_what_is_no_id(name: str) -> None:
    with pytest.raises(InputError, match="use 1 to 64"):
        source_ids([name])
