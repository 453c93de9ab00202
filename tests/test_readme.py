"""README's commands are what they claim."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fenced import blocks
from tests.helpers.paths import ROOT

pytest.importorskip("torch", reason="the tour converts a checkpoint")
PAGE = ROOT / "README.md"


def test_the_first_block_is_the_two_commands() -> None:
    first, second = next(blocks(PAGE)).text.strip().splitlines()
    setup, test = first.split("#")[0].strip(), second.split("#")[0].strip()
    script = (ROOT / ".ci/run").read_text()
    assert setup in script
    assert script.rstrip().endswith(test)


def test_the_tour_runs_as_written(tmp_path: Path) -> None:
    [tour] = [block.text for block in blocks(PAGE) if block.mark == "tour"]
    [python] = [block.text for block in blocks(PAGE) if block.language == "python"]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tools = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-euc", f"{tour}\npython - <<'END'\n{python}\nEND\n"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "answer.mp4").stat().st_size > 0
    assert "agree" in done.stdout
