"""Every example runs."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_tsm.service.config import read_config
from tests.helpers.paths import ROOT
from tests.helpers.videos import write_video

EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_classify_file(bundle: Path, tmp_path: Path) -> None:
    out = run("classify_file.py", bundle, write_video(tmp_path / "x.avi", 20))
    assert len(out.splitlines()) == 3
    assert "%" in out


def test_camera_loop(bundle: Path, tmp_path: Path) -> None:
    out = run("camera_loop.py", bundle, write_video(tmp_path / "x.avi", 60))
    times = [float(line.split()[0]) for line in out.splitlines()]
    assert times == pytest.approx([1.0, 1.5, 2.0], abs=0.09)


def test_events_to_callback(bundle: Path, tmp_path: Path) -> None:
    out = run("events_to_callback.py", bundle, write_video(tmp_path / "x.avi", 60), 0)
    assert [line.split()[2] for line in out.splitlines()][::2] == ["start"]


def test_custom_sink(bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 20)
    out = run("custom_sink.py", bundle, tmp_path / "x.csv", video, video)
    assert "delivered=2, dropped=0, failed=0" in out
    assert (tmp_path / "x.csv").read_text().count(str(video)) == 2


def test_the_service_unit_is_one_that_systemd_knows() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(EXAMPLES / "edge-tsm.service")
    assert unit["Service"]["Type"] == "notify"
    assert "edge-tsm run" in unit["Service"]["ExecStart"]
    assert "edge-tsm health" in unit["Service"]["ExecStartPost"]
    assert (
        read_config(EXAMPLES / "edge-tsm.toml").metrics.address == "127.0.0.1:9109"
    )  # what that asks


def test_the_container_runs_a_checked_configuration_and_asks_what_it_serves() -> None:
    folder = EXAMPLES / "container"
    done = subprocess.run(
        [sys.executable, "-m", "edge_tsm", "config", "check", folder / "edge-tsm.toml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    steps = (folder / "Containerfile").read_text()
    extras = {name for group in re.findall(r"'\.\[(.*?)\]'", steps) for name in group.split(",")}
    project = importlib.metadata.metadata("edge-tsm").get_all("Provides-Extra") or []
    assert extras and extras <= set(project)
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    assert f"AS {services['edge-tsm']['build']['target'].split(':-')[1][:-1]}\n" in steps
    mounted = [volume.split(":")[0] for one in services.values() for volume in one["volumes"]]
    assert all((folder / name).exists() for name in mounted if name.startswith("./"))


def test_two_cameras(bundle: Path, tmp_path: Path) -> None:
    videos = [f"replay:{write_video(tmp_path / f'{name}.avi', 60)}" for name in "ab"]
    lines = run("two_cameras.py", bundle, *videos).splitlines()
    assert {line.partition(":")[0] for line in lines} == {"left", "right"}
    assert "ms late" in lines[0]


def test_asyncio_app(bundle: Path) -> None:
    out = run("asyncio_app.py", bundle, "hall=test://160x120/15", "porch=rtsp://127.0.0.1:9/x", 3)
    lines = out.splitlines()
    assert "hall: opening -> live" in lines
    assert any(line.startswith("porch: opening -> lost rtsp://127.0.0.1:9/x") for line in lines)
    assert len([line for line in lines if line.startswith("hall: ") and "->" not in line]) == 3


def test_fastapi_app(bundle: Path) -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    for name in ("fastapi", "uvicorn"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cameras = "hall=test://160x120/15 porch=rtsp://127.0.0.1:9/x"
    asked = {"BUNDLE": str(bundle), "CAMERAS": cameras, "PORT": str(port)}
    address = f"http://127.0.0.1:{port}"
    with (
        server_run("fastapi_app.py", asked) as server,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        while not (found := answers(client)):
            assert server.poll() is None, "the server has ended"
            threading.Event().wait(0.1)  # for another process: there is nothing to wait on
        assert found["hall"]["label"]
        assert client.get("/cameras/hall").json()["state"] == "live"
        assert client.get("/cameras/porch").json()["state"] == "lost"
        assert client.get("/cameras/attic").status_code == 404


@contextmanager
def server_run(name: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs as a process, and ends with SIGTERM in good order."""
    process = subprocess.Popen([sys.executable, EXAMPLES / name], env=os.environ | environment)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


def answers(client: Any) -> dict[str, Any]:
    """What the server has found; nothing as long as it is not there."""
    try:
        return dict(client.get("/answers").json())
    except importlib.import_module("httpx").TransportError:
        return {}


def test_custom_source(bundle: Path) -> None:
    lines = run("custom_source.py", bundle).splitlines()
    assert 2 <= len(lines) <= 5
    assert all(line.startswith("0 ") for line in lines)


def test_rtsp_to_json(bundle: Path) -> None:
    lines = run("rtsp_to_json.py", bundle, "test://160x120/15", 2).splitlines()
    assert [json.loads(line)["address"] for line in lines] == ["test://160x120/15"] * 2


def test_convert_from_python(checkpoint: Path, tmp_path: Path) -> None:
    out = run("convert_from_python.py", checkpoint, tmp_path / "x.bundle")
    assert "model.xml: max |Δ|" in out


def test_untrained_checkpoint_in_the_official_format(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from converters.planning import plan
    from converters.recipe import Options

    run("untrained_checkpoint.py", tmp_path, "mobilenetv2")
    [path] = tmp_path.glob("TSM_*/ckpt.best.pth.tar")
    recipe = plan(path, Options(labels=str(path.parent / "labels.txt"))).recipe
    assert recipe.facts.segments.source == "name of the folder"
    assert recipe.warnings == []
    assert (tmp_path / "swipe.avi").stat().st_size > 0


def test_generated_videos_and_fine_tuning_on_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run("generated_videos.py", tmp_path / "videos", "swipe left", "swipe right", "--clips", 2)
    lists = []
    for name in ("train", "val"):
        lines = [f"{p.relative_to(tmp_path)} {k}\n" for k, side in enumerate(("left", "right"))
                 for p in sorted((tmp_path / f"videos/swipe {side}").iterdir())]  # fmt: skip
        (tmp_path / f"{name}.txt").write_text("".join(lines))
        lists.append(tmp_path / f"{name}.txt")
    out = run(
        "finetune.py", EXAMPLES / "demo/ckpt.best.pth.tar", *lists, "-o", tmp_path / "run",
        "--labels", "swipe left,swipe right", "--frozen", "--epochs", 1, "--workers", 0,
    )  # fmt: skip
    assert "2 classes, head new" in out
    assert "epoch   1/1" in out
    assert (tmp_path / "run/ckpt.best.pth.tar").is_file()


def test_the_demo_s_training_runs_on_a_small_scale(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = run("train_demo.py", tmp_path, "--scale", 0.004)
    assert out.count("epoch   1/1") == 3
    out = run("train_demo_online.py", tmp_path, "--scale", 0.004)
    assert out.count("epoch   1/1") == 2
    from converters.planning import plan
    from converters.recipe import Options

    recipe = plan(tmp_path / "demo_online_224px/ckpt.best.pth.tar", Options()).recipe
    assert recipe.shift.direction == "past"


@pytest.mark.parametrize(
    ("network", "file", "backbone"),
    [
        ("slowfast", "slowfast_16x4.pyth", "slowfast_r18"),
        ("timesformer", "timesformer_8x8.pyth", "timesformer_divided"),
    ],
)
def test_a_video_network_is_trained_on_a_small_scale_and_read_again(
    network: str, file: str, backbone: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    out = run("train_video_network.py", tmp_path, "--network", network, "--scale", 0.004)
    assert "epoch   1/1" in out
    from converters.planning import plan
    from converters.recipe import Options

    recipe = plan(tmp_path / file, Options()).recipe
    assert recipe.network.name == backbone
    assert recipe.segments * (recipe.sampling.interval or 0) == 64


def test_the_packaged_bundles_are_what_the_checkpoints_give(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edge_tsm import demo
    from edge_tsm.bundle.card import Card
    from edge_tsm.bundle.golden import Golden

    run("package_demo.py", tmp_path, "--held-out", "12")
    for form in ("clip", "online"):
        packaged = demo.bundle(form)
        made = tmp_path / packaged.name
        assert Card.read(made).arch == Card.read(packaged).arch
        one, other = Golden.read(made).logits, Golden.read(packaged).logits
        assert abs(one - other).max() <= 1e-3 * abs(one).max()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_say_how_to_run_them(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 73
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")
    assert re.search(rf'run\(\s*"{path.name}"', Path(__file__).read_text())
