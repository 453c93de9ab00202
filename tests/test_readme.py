"""README's commands are what they claim."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

pytest.importorskip("torch", reason="the tour converts a checkpoint")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_block_is_the_two_commands() -> None:
    first, second = blocks("sh")[0].strip().splitlines()
    setup, test = first.split("#")[0].strip(), second.split("#")[0].strip()
    script = (ROOT / ".ci/run").read_text()
    assert setup in script
    assert script.rstrip().endswith(test)


def test_the_tour_runs_as_written(tmp_path: Path) -> None:
    tour = re.search(r"<!-- tour -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert tour
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tools = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-euc", tour[1]],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "answer.mp4").stat().st_size > 0
    assert "agree" in done.stdout


@pytest.mark.parametrize(
    "command",
    ["demo", "convert", "run", "info", "verify", "doctor", "frames", "bench", "evaluate"],
)
def test_every_option_the_readme_names_exists(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_tsm", command, "--help"], capture_output=True, text=True
    )
    named = re.findall(rf"edge-tsm {command} ([^\n]*)", README)
    for option in re.findall(r"--[a-z0-9-]+", " ".join(named)):
        assert option in done.stdout, option


def test_exit_codes_are_those_of_the_errors() -> None:
    from edge_tsm import errors

    codes = README.split("## Exit codes")[1].split("##")[0]
    table = {int(n) for n in re.findall(r"(?:^|· )(\d+) [a-z]", codes, re.MULTILINE)}
    leaves = {c.exit_code for c in vars(errors).values() if isinstance(c, type)
              and issubclass(c, errors.EdgeTsmError)}  # fmt: skip
    assert leaves - {1} <= table
