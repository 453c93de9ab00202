"""Doctor names what is wrong and the remedy; the machine is a folder made for the test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge_tsm.backends import versions
from edge_tsm.diagnostics.doctor import (
    OPENCVS,
    check_cache,
    check_cameras,
    check_engines,
    check_opencv,
    check_processor,
    check_python,
    examine,
)
from edge_tsm.system.machine import Processor, VideoDevice, processor, video_devices
from tests.helpers.command import edge_tsm

X86 = """processor : 0
model name : Intel(R) Core(TM) Ultra
flags : fpu avx2 avx_vnni amx_int8
processor : 1
model name : second
flags : fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n"


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_processor_is_read(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", X86)
    put(tmp_path, "sys/fs/cgroup/cpu.max", "150000 100000\n")
    found = processor(tmp_path)
    assert found.model == "Intel(R) Core(TM) Ultra"
    assert found.features == ("AVX2", "VNNI", "AMX int8")
    assert found.quota == 1.5
    assert found.has_fast_int8


def test_an_arm_board_and_a_v1_container(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", ARM)
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5\0")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    found = processor(tmp_path)
    assert (found.model, found.quota) == ("Raspberry Pi 5", None)
    assert found.features == ("NEON", "f16", "dot product")
    assert processor(tmp_path / "nothing").model == "unknown processor"


def test_cameras_have_names_and_stable_paths(tmp_path: Path) -> None:
    for number, name, index in ((0, "C920", 0), (1, "C920", 1), (10, "Built-in", 0)):
        put(tmp_path, f"sys/class/video4linux/video{number}/name", f"{name}\n")
        put(tmp_path, f"sys/class/video4linux/video{number}/index", f"{index}\n")
    put(tmp_path, "dev/video0")
    (tmp_path / "dev/v4l/by-id").mkdir(parents=True)
    (tmp_path / "dev/v4l/by-id/usb-C920-index0").symlink_to("../../video0")
    assert video_devices(tmp_path) == [
        VideoDevice("/dev/video0", "C920", "/dev/v4l/by-id/usb-C920-index0", True),
        VideoDevice("/dev/video10", "Built-in", None, False),
    ]


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
    first = next(check_engines({"onnxruntime": "1", "onnxruntime-gpu": "1"}))
    assert (first.status, first.name) == ("problem", "ONNX Runtime")


def test_what_is_installed_here_is_well() -> None:
    assert check_opencv(versions(OPENCVS)).status == "ok"
    assert all(finding.status == "ok" for finding in check_engines({}))
    assert check_python((3, 11)).status == "ok"
    assert check_python((3, 9)).status == check_python((4, 0)).status == "warning"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    assert check_cache(tmp_path / "a/b").status in ("ok", "warning")
    put(tmp_path, "file")
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
    assert "→ copy the bundle again" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("name", "code"), [("B", 0), ("nope", 1)])
def test_the_command_as_json(name: str, code: int, bundle: Path) -> None:
    done = edge_tsm("doctor", bundle if name == "B" else name, "--json")
    findings = json.loads(done.stdout)
    assert {"status", "name", "found", "remedy"} == findings[0].keys()
    assert done.returncode == code, done.stdout
