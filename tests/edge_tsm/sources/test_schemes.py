"""The table of kinds of sources: which address is of which kind, and what it may be asked."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_tsm.cli.run import run
from edge_tsm.errors import InputError, SourceError
from edge_tsm.sources import SCHEMES, SourceOptions, open_source, scheme_of, takes_rate


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the paths below are looked up."""
    monkeypatch.chdir(tmp_path)
    for name in ("12345", "frames", "take:1"):
        Path(name).mkdir()
    for name in ("clip.mp4", "67890", "take:2.mp4", "take:1/1.png", "frames/1.png"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        (0, "camera"),
        (12345, "camera"),
        ("97", "camera"),
        ("/dev/video0", "camera"),
        ("-", "stdin"),
        ("csi://1", "csi"),
        ("test://", "test"),
        ("v4l2src ! videoconvert", "gstreamer"),
        ("rtspsrc location=rtsp://x ! decodebin", "gstreamer"),
        ("replay:frames", "replay"),
        ("replay:clips/*.png", "replay"),
        ("av:rtsp://x", "av"),
        ("av:clip.mp4", "av"),
        ("rtsp://x/?channel=1", "network"),
        ("HTTPS://x", "network"),
        (f"http://x/{'a' * 5000}", "network"),
        ("12345", "images"),
        (Path("frames"), "images"),
        ("frames/*.jpg", "images"),
        ("frames/img_%05d.jpg", "images"),
        ("take:1", "images"),
        ("take:1/*.png", "images"),
        ("67890", "video"),
        ("clip.mp4", "video"),
        (Path("clip.mp4"), "video"),
        ("take:2.mp4", "video"),
    ],
)
def test_the_kind_of_an_address(uri: str | int | Path, name: str) -> None:
    assert scheme_of(uri).name == name


def test_addresses_of_files_name_their_paths(folder: Path) -> None:
    assert scheme_of(f"file://{folder}/frames").name == "images"
    assert scheme_of(f"file://{folder}/clip.mp4").name == "video"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nope.mp4", "^nope.mp4 does not exist; pass a camera"),
        ("file:///nope.mp4", "^/nope.mp4 does not exist; pass"),
        ("gopher://bob:hunter2@x", r"^gopher://\*\*\*@x: scheme 'gopher' is unknown; pass"),
        ("nothing:3", "^nothing:3 does not exist; pass"),
        ("nothing:x?y=[1]", "does not exist; pass"),
    ],
)
def test_an_address_of_no_kind(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        open_source(uri)
    assert all(scheme.form in str(caught.value) for scheme in SCHEMES.values())
    assert not takes_rate(uri)


@pytest.mark.parametrize("uri", ["clip.mp4", "rtsp://x/?y", "av:clip.mp4", "replay:*.png"])
def test_no_rate_can_be_asked_of_what_has_its_own(uri: str) -> None:
    assert not takes_rate(uri)
    with pytest.raises(InputError, match=r"a rate cannot be asked of .*; it is for a camera, "):
        open_source(uri, options=SourceOptions(fps=5))


@pytest.mark.parametrize("uri", [0, "-", "csi://0", "test://", "a ! b", "frames"])
def test_rates_are_for_what_is_made_or_has_none(uri: str | int) -> None:
    assert takes_rate(uri)


@pytest.mark.parametrize("uri", ["clip.mp4", "a ! b", "frames", "rtsp://x"])
def test_no_size_can_be_asked_of_what_has_its_own(uri: str) -> None:
    with pytest.raises(InputError, match=r"a size cannot be asked of .*; it is for a camera, "):
        open_source(uri, options=SourceOptions(size=(64, 48)))


def test_replays_alone_play_in_a_time_of_their_own() -> None:
    assert [scheme.name for scheme in SCHEMES.values() if scheme.virtual_time] == ["replay"]


def test_the_documentation_of_open_source_lists_the_table_in_its_order() -> None:
    text = inspect.getdoc(open_source) or ""  # 3.13 strips the indent, others do not
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")][1:]
    forms = [", ".join(f"`{f}`" for f in s.form.split(", ")) for s in SCHEMES.values()]
    assert [row.strip() for row in rows] == forms


@pytest.mark.parametrize("name", SCHEMES)
def test_the_help_of_run_lists_the_table(name: str) -> None:
    text = "".join(CliRunner().invoke(run, ["--help"]).output.split())
    for form in SCHEMES[name].form.split(", "):
        assert form.replace(" ", "") in text


def test_importing_the_table_loads_nothing_that_a_source_may_not_need() -> None:
    code = "import edge_tsm.sources, edge_tsm.demo, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unneeded = {"cv2", "av", "edge_tsm.sources.gstreamer", "edge_tsm.sources.pyav"}
    assert not unneeded & set(done.stdout.split())
