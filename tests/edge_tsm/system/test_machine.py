"""What the machine is: the processor, its cores, the cameras; it is a folder made for the test."""

from __future__ import annotations

import os
from pathlib import Path

from edge_tsm.system.machine import (
    VideoDevice,
    physical_cores,
    processor,
    processor_identity,
    usable_cores,
    video_devices,
)

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


def test_the_identity_has_every_feature_once(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", X86 + X86)
    assert processor_identity(tmp_path).splitlines() == [
        "model name : Intel(R) Core(TM) Ultra",
        "flags : fpu avx2 avx_vnni amx_int8",
        "model name : second",
        "flags : fpu",
    ]
    assert processor_identity(tmp_path / "nothing")


def test_cores_follow_the_affinity() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert physical_cores() == usable_cores() == processor().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= physical_cores() <= usable_cores() == len(allowed)
