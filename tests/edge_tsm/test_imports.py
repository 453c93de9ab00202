"""The two halves stay apart (R1), imports point down (R2)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

CONVERSION = {"torch", "onnx", "onnxsim", "nncf", "converters"}
ENGINES = {"onnxruntime", "openvino"}
RANKS = [
    {"errors"},
    {"datatypes", "card", "storage", "demo", "labels", "timing", "uris", "rules", "machine"},
    {
        *{"sampling", "preprocess", "postprocess", "agreement", "sources", "backends"},
        *{"synthetic", "prefetch", "latency_chart", "stats", "service"},
    },
    {"stream", "datasets", "variants", "windows"},
    {"recognizer", "metrics", "capture", "decisions"},
    {"lanes", "steps", "sinks"},
    {"delivery", "doctor"},
    {"pipeline", "protocol", "results", "charts", "annotations", "benchmark"},
    {"evaluation", "catalog"},
    {"frames"},
    {"frame_lists"},
    {"cli", "__init__"},
    {"__main__"},
]


def imports(path: Path, *, late: bool) -> Iterator[str]:
    """Module names that a file imports; `late` includes those inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if late else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


RUNTIME = sorted((ROOT / "edge_tsm").rglob("*.py"))
CONVERTERS = sorted((ROOT / "converters").rglob("*.py"))


@pytest.mark.parametrize("path", RUNTIME, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_runtime_never_imports_conversion_packages(path: Path) -> None:
    in_cli = path.parent.name == "cli"
    tops = {name.split(".")[0] for name in imports(path, late=not in_cli)}
    assert not tops & CONVERSION
    if path.parent.name != "backends" or path.stem not in ("ort", "ov"):
        assert not {name.split(".")[0] for name in imports(path, late=True)} & ENGINES


@pytest.mark.parametrize("path", RUNTIME, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    def rank(part: str) -> int:
        return next(i for i, names in enumerate(RANKS) if part in names)

    own = path.relative_to(ROOT / "edge_tsm").parts[0].removesuffix(".py")
    for name in imports(path, late=True):
        parts = name.split(".")
        if parts[0] != "edge_tsm" or len(parts) < 2 or parts[1] == own:
            continue
        assert rank(parts[1]) < rank(own) or (own == "card" and parts[1] == "errors"), name


@pytest.mark.parametrize("path", CONVERTERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_converters_reach_the_recognizer_at_most(path: Path) -> None:
    names = set(imports(path, late=True))
    assert not {"cv2", "PIL"} & {name.split(".")[0] for name in names}
    for name in names:
        assert not name.startswith(("edge_tsm.live.pipeline", "edge_tsm.cli")), name
        assert name != "edge_tsm", "import the part that is needed"


def test_importing_edge_tsm_loads_no_engine() -> None:
    code = "import edge_tsm, sys; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & (CONVERSION | ENGINES | {"cv2"})
    assert {"edge_tsm", "numpy"} <= loaded
