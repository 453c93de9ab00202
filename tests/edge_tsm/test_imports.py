"""What `import edge_tsm` brings along; contracts in pyproject.toml hold the rooms apart."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "onnx", "onnxsim", "nncf", "converters", "onnxruntime", "openvino", "cv2"}


def test_importing_edge_tsm_loads_no_engine() -> None:
    code = "import edge_tsm, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & HEAVY
    assert "edge_tsm" in loaded


def test_a_run_without_a_page_loads_no_web_library() -> None:
    code = "import edge_tsm.cli.run, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "tomlkit"} & set(done.stdout.split())


def test_the_run_command_loads_neither_the_event_store_nor_the_network() -> None:
    # cloup imports email to look at a version, and that imports socket on some Pythons.
    code = "import cloup, sys; theirs = {*sys.modules}; import edge_tsm.cli.run"
    code += "; print(*sys.modules.keys() - theirs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"sqlite3", "socket", "email", "http.client", "edge_tsm.events.store"} & loaded
    assert "edge_tsm.live.pipeline" in loaded
