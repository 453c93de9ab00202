"""What is right and wrong with an installation, or with a bundle on it, and what to do about it."""

from __future__ import annotations

import grp
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_tsm.backends import ENGINES, Engine, RuntimeOptions, devices, installed, versions
from edge_tsm.bundle.card import Card
from edge_tsm.bundle.golden import Golden
from edge_tsm.diagnostics.verify import Replay, Status, listed_variants, verify_variant
from edge_tsm.errors import BackendError, CardError
from edge_tsm.system.cache import cache_folder
from edge_tsm.system.machine import Processor, VideoDevice, processor, video_devices

Severity = Literal["ok", "warning", "problem"]
TESTED = ((3, 10), (3, 13))
LITTLE_MB, TOO_LITTLE_MB = 1000, 100
OPENCVS = (
    *("opencv-python", "opencv-python-headless"),
    *("opencv-contrib-python", "opencv-contrib-python-headless"),
)


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was found, and the remedy if it is not ok."""

    status: Severity
    name: str
    found: str
    remedy: str = ""


def examine(cache_dir: Path | None = None) -> Iterator[Finding]:
    """Look at everything but a bundle."""
    yield check_python(sys.version_info[:2])
    yield check_opencv(versions(OPENCVS))
    yield from check_engines()
    yield from check_accelerators(Path("/"))
    yield check_processor(processor())
    yield from check_cameras(video_devices())
    yield check_cache(cache_dir or cache_folder())


def check_python(version: tuple[int, int]) -> Finding:
    """Is it a Python that edge-tsm is tested with?"""
    found = f"{platform.python_version()}, {platform.machine()} {platform.system()}"
    if TESTED[0] <= version <= TESTED[1]:
        return Finding("ok", "Python", found)
    low, high = (".".join(map(str, v)) for v in TESTED)
    return Finding("warning", "Python", found, f"tested with {low} to {high}")


def check_opencv(found: Mapping[str, str]) -> Finding:
    """Is there exactly one OpenCV, does it load, and what was it built with?"""
    if len(found) > 1:
        return Finding(
            "problem",
            "OpenCV",
            " and ".join(found) + ", which overwrite each other",
            f"pip uninstall -y {' '.join(found)}, then pip install one of them",
        )
    try:
        import cv2
    except ImportError as error:
        remedy = "pip install 'edge-tsm[camera]', or [headless] on a server"
        return Finding("problem", "OpenCV", f"does not load ({error})", remedy)
    build = cv2.getBuildInformation()
    parts = {name: _built_with(build, name) for name in ("GUI", "FFMPEG", "GStreamer")}
    built = ", ".join(f"{name} {'yes' if has else 'no'}" for name, has in parts.items())
    text = f"{cv2.__version__} ({next(iter(found), 'not from pip')}): {built}"
    if not parts["FFMPEG"] and not parts["GStreamer"]:
        remedy = "use the opencv-python wheel: this build reads no video files"
        return Finding("warning", "OpenCV", text, remedy)
    return Finding("ok", "OpenCV", text)


def check_engines() -> Iterator[Finding]:
    """Does every installed engine load, and does only one distribution bring it?"""
    for engine in ENGINES.values():
        yield from check_distributions(engine, versions(engine.distributions))
    found = list(filter(installed, ENGINES))
    yield from map(_engine, found)
    if not found:
        remedy = " or ".join(f"'{engine.install}'" for engine in ENGINES.values())
        yield Finding("problem", "engine", "none is installed", f"pip install {remedy}")


def check_distributions(engine: Engine, found: Mapping[str, str]) -> Iterator[Finding]:
    """Do several distributions bring an engine, and overwrite each other's files?"""
    if len(found) > 1:
        yield Finding(
            "problem",
            engine.title,
            " and ".join(found) + ", which overwrite each other",
            f"pip uninstall -y {' '.join(found)}, then pip install the one you need",
        )


def check_accelerators(root: Path) -> Iterator[Finding]:
    """Is there a GPU that no engine uses, or that this user may not use?"""
    offered = {d for engine in ENGINES if installed(engine) for d in _devices(engine)}
    if any((root / "dev").glob("nvidia[0-9]*")) or (root / "etc/nv_tegra_release").exists():
        yield _nvidia(offered, jetson=(root / "etc/nv_tegra_release").exists())
    renders = sorted((root / "dev/dri").glob("renderD*"))
    if renders and not os.access(renders[0], os.R_OK | os.W_OK):
        yield Finding("warning", "GPU", f"{renders[0]}: no permission", _join_group(renders[0]))


def check_processor(cpu: Processor) -> Finding:
    """What can the processor do, and may this process use its cores?"""
    int8 = "" if cpu.has_fast_int8 else "; int8 models are not faster here"
    if cpu.int8_saturates:
        int8 += ", and exact on OpenVINO only if converted with --reduce-range"
    text = f"{cpu.model}, {cpu.cores} cores: {', '.join(cpu.features) or 'no extensions'}{int8}"
    if cpu.quota is not None and cpu.quota < cpu.cores:
        whole = max(int(cpu.quota), 1)
        text += f"; limited to {cpu.quota:g} cores"
        return Finding("warning", "CPU", text, f"pass --threads {whole}, or raise the limit")
    return Finding("ok", "CPU", text)


def check_cameras(cameras: list[VideoDevice]) -> Iterator[Finding]:
    """Which cameras does this machine have, and may this user open them?"""
    if not cameras:
        yield Finding("ok", "camera", "none on this machine (files and streams need none)")
    for camera in cameras:
        text = f"{camera.path} {camera.name}"
        if camera.allowed:
            yield Finding("ok", "camera", f"{text} ({camera.stable or 'no path by id'})")
        else:
            remedy = _join_group(Path(camera.path))
            yield Finding("problem", "camera", f"{text}: no permission", remedy)


def check_cache(folder: Path) -> Finding:
    """Can compiled engines be kept, and is there room?"""
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        remedy = "pass --cache-dir FOLDER that this user may write to"
        return Finding("warning", "cache", f"{folder} cannot be written", remedy)
    free_mb = shutil.disk_usage(nearest).free // 1_000_000
    status: Severity = "ok" if free_mb >= LITTLE_MB else "warning"
    if free_mb < TOO_LITTLE_MB:
        status = "problem"
    remedy = "" if status == "ok" else "free some space: an engine takes up to some hundred MB"
    return Finding(status, "cache", f"{folder}, {free_mb} MB free", remedy)


def check_bundle(bundle: Path, options: RuntimeOptions) -> Iterator[Finding]:
    """Does every artifact that an installed engine reads answer the golden clips as proven?"""
    try:
        card, golden = Card.read(bundle), Golden.read(bundle)
    except CardError as error:
        yield Finding("problem", "bundle", str(error), "copy it again, or convert again")
        return
    listed = listed_variants(card, list(filter(installed, ENGINES)))
    if not listed:
        engines = {engine for file in card.files.values() for engine in file.engines}
        remedy = f"install {' or '.join(sorted(engines))}"
        yield Finding("problem", "bundle", "no installed engine reads its artifacts", remedy)
    for variant in listed:
        yield _replayed(verify_variant(bundle, card, variant, golden, options))


_REPLAYED: dict[Status, tuple[Severity, str]] = {
    Status.AGREE: ("ok", ""),
    Status.SKIPPED: ("ok", ""),
    Status.DRIFTED: ("warning", "pass --precision f32, or use another device"),
    Status.BROKEN: ("problem", "copy the bundle again"),
}


def _replayed(replay: Replay) -> Finding:
    status, remedy = _REPLAYED[replay.status]
    name = f"{replay.variant.file.path} {replay.variant.engine}"
    return Finding(status, name, replay.summary, remedy)


def _engine(name: str) -> Finding:
    distributions = ENGINES[name].distributions
    try:
        found = devices(name)
    except BackendError as error:
        remedy = f"pip install --force-reinstall {distributions[0]}"
        return Finding("problem", name, str(error), remedy)
    version = next(iter(versions(distributions).values()), "")
    return Finding("ok", name, f"{version} on {', '.join(found)}".strip())


def _devices(engine: str) -> tuple[str, ...]:
    try:
        return devices(engine)
    except BackendError:
        return ()  # which check_engines reports


def _nvidia(offered: set[str], *, jetson: bool) -> Finding:
    name = "Jetson" if jetson else "NVIDIA GPU"
    used = sorted(offered & {"cuda", "tensorrt"})
    if used:
        return Finding("ok", name, f"--device {' or '.join(used)}")
    wheel = "NVIDIA's onnxruntime-gpu wheel for this JetPack" if jetson else "onnxruntime-gpu"
    remedy = f"pip uninstall -y onnxruntime, then pip install {wheel}"
    return Finding("warning", name, "present, but no engine uses it", remedy)


def _join_group(path: Path) -> str:
    """Return how to get permission: the group that owns a device file may use it."""
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        group = "video"
    return f"sudo usermod -aG {group} $USER, then log in again"


def _built_with(build: str, name: str) -> bool:
    found = re.search(rf"^\s*{name}:\s*(\S+)", build, re.MULTILINE)
    return found is not None and found[1] not in ("NO", "NONE")
