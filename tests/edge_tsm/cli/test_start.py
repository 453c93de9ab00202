"""A subcommand is imported when it is called, and help tells of all of them without that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_tsm.cli import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_help_is_the_commands_own(name: str) -> None:
    assert COMMANDS[name].load().get_short_help_str(200) == COMMANDS[name].help
    assert COMMANDS[name].load().name == name


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys, click\n"
        "from edge_tsm.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(*(name for name in sys.modules if name.startswith(('edge_tsm.cli.', 'numpy'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == ""
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line.split()]
    assert set(COMMANDS) <= set(listed)


def test_a_typo_is_told_with_what_was_meant() -> None:
    command = [sys.executable, "-m", "edge_tsm", "evalaute"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'evaluate'?" in done.stderr
