"""`run --config` and `config check`, as a service starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_tsm import demo

pytestmark = pytest.mark.timeout(120)
TEXT = f"""
bundle = "{demo.bundle()}"
[sources.porch]
address = "env:PORCH"
crop = [0, 0, 32, 24]
window = 0.4
every = 0.2
[sources.hall]
address = "test://64x48/20"
[sources.hall.rules]
on = 0.0
off = 0.0
[pace]
window = 0.6
every = 0.3
max_answers = 6
[actions]
on = 1.0
off = 1.0
[output]
json = true
"""


def edge_tsm(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tsm", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PORCH": "test://64x48/30", **environment},
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_run_is_what_the_file_says(config: Path) -> None:
    done = edge_tsm("run", "--config", config)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    spans = {a["source"]: round(a["end_s"] - a["start_s"], 3) for a in answers}
    assert spans == {"porch": 0.4, "hall": 0.6}
    kinds = {(a["source"], e["kind"]) for a in answers for e in a["decision"]["events"]}
    assert ("hall", "start") in kinds
    assert ("porch", "start") not in kinds


def test_the_command_line_goes_before_the_file(config: Path) -> None:
    flags = ("--window", 0.5, "--camera", "door=test://64x48/20", "--max-answers", 1)
    done = edge_tsm("run", "--config", config, *flags)
    assert done.returncode == 0, done.stderr
    [answer] = [json.loads(line) for line in done.stdout.splitlines()][:1]
    assert answer["source"] == "door"
    assert answer["end_s"] - answer["start_s"] == pytest.approx(0.5, abs=1e-3)
    done = edge_tsm("run", "--config", config, "--crop", "0,0,65,48")
    assert done.returncode == 4
    assert "lies outside its pictures" in done.stderr


def test_check_says_what_is_wrong_in_one_line(config: Path) -> None:
    done = edge_tsm("config", "check", config)
    assert (done.returncode, done.stdout) == (0, f"{config}: all is well; sources: porch, hall\n")
    for old, new, message in (
        ("every = 0.2", "evry = 0.2", "sources.porch.evry is unknown; did you mean 'every'?"),
        ("env:PORCH", "env:NOT_SET_HERE", "env:NOT_SET_HERE: the environment variable"),
        ("test://64x48/20", "gopher://x", "scheme 'gopher' is unknown"),
    ):
        config.write_text(TEXT.replace(old, new), encoding="utf-8")
        done = edge_tsm("config", "check", config)
        assert done.returncode in (2, 4)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert edge_tsm("run", "--config", config).stderr == done.stderr
