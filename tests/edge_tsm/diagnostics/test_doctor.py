"""Doctor names what is wrong and the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge_tsm.backends import ENGINES, versions
from edge_tsm.diagnostics.doctor import (
    OPENCVS,
    check_cache,
    check_cameras,
    check_distributions,
    check_engines,
    check_opencv,
    check_processor,
    check_python,
    examine,
)
from edge_tsm.system.machine import Processor, VideoDevice
from tests.helpers.command import edge_tsm


def test_a_camera_without_permission_names_the_group() -> None:
    [found] = check_cameras([VideoDevice("/dev/video9", "C920", None, False)])
    assert found.status == "problem"
    assert found.remedy == "sudo usermod -aG video $USER, then log in again"
    assert [f.status for f in check_cameras([])] == ["ok"]


def test_a_limited_container_is_a_warning() -> None:
    found = check_processor(Processor("x", (), 8, 2.5))
    assert (found.status, found.remedy) == ("warning", "pass --threads 2, or raise the limit")
    assert "int8 models are not faster here" in found.found
    assert check_processor(Processor("x", ("VNNI",), 2, 4.0)).status == "ok"


def test_sums_saturate_on_x86_without_vnni() -> None:
    old, new = Processor("x", ("AVX2",), 2, None), Processor("x", ("AVX2", "VNNI"), 2, None)
    assert (
        old.int8_saturates and "only if converted with --reduce-range" in check_processor(old).found
    )
    assert not new.int8_saturates and "int8" not in check_processor(new).found
    assert not Processor("arm", ("NEON",), 2, None).int8_saturates


def test_distributions_that_overwrite_each_other() -> None:
    found = check_opencv({"opencv-python": "5", "opencv-python-headless": "5"})
    assert found.status == "problem"
    assert found.remedy.startswith("pip uninstall -y opencv-python opencv-python-headless")
    both = {"onnxruntime": "1", "onnxruntime-gpu": "1"}
    [first] = check_distributions(ENGINES["onnxruntime"], both)
    assert (first.status, first.name) == ("problem", "ONNX Runtime")


def test_what_is_installed_here_is_well() -> None:
    assert check_opencv(versions(OPENCVS)).status == "ok"
    assert all(finding.status == "ok" for finding in check_engines())
    assert check_python((3, 11)).status == "ok"
    assert check_python((3, 9)).status == check_python((4, 0)).status == "warning"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    assert check_cache(tmp_path / "a/b").status in ("ok", "warning")
    (tmp_path / "file").touch()
    found = check_cache(tmp_path / "file/cache")
    assert (found.status, found.remedy[:11]) == ("warning", "pass --cach")
    assert not (tmp_path / "a").exists()


def test_the_cache_that_is_used_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_TSM_CACHE", str(tmp_path))
    assert list(examine())[-1].found.startswith(f"{tmp_path}, ")


def test_the_command_checks_a_bundle(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    for path in copy.glob("model.*"):
        with path.open("ab") as stream:
            stream.write(b"x")
    done = edge_tsm("doctor", copy)
    assert done.returncode == 1
    assert "broken" in done.stdout
    assert "→ copy the bundle again" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("name", "code"), [("B", 0), ("nope", 1)])
def test_the_command_as_json(name: str, code: int, bundle: Path) -> None:
    done = edge_tsm("doctor", bundle if name == "B" else name, "--json")
    findings = json.loads(done.stdout)
    assert {"status", "name", "found", "remedy"} == findings[0].keys()
    assert done.returncode == code, done.stdout
