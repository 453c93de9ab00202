"""`edge-tsm run --page`, as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_tsm.cli import main
from edge_tsm.cli.page import PageOptions
from edge_tsm.errors import InputError
from edge_tsm.events import EventStore
from edge_tsm.service.config import read_config
from edge_tsm.service.web.address import Address

pytestmark = pytest.mark.timeout(120)
CAMERA = ("--camera", "porch=test://160x120/15", "--window", "0.6", "--every", "0.3")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, arguments)])


CONFIG = """# mine
[sources.porch]
address = "test://160x120/15"
[pace]
window = 0.6
every = 0.3
[actions]
off = 0.05
[page]
address = "127.0.0.1:0"
"""


def test_a_page_lives_and_ends_with_its_run(bundle: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG)
    options = ("--config", config, "--events", tmp_path / "events.db", "--on", 0.1, "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_tsm", "run", *map(str, (bundle, *options))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        assert process.stdout
        url = process.stderr.readline().removeprefix("page at ").strip()
        assert json.loads(process.stdout.readline())["decision"]["events"]
        values = ask(f"{url}api/v1/rules")["scopes"][0]["values"]
        assert (values["on"]["origin"], values["on"]["value"]) == ("option", 0.1)
        assert (values["off"]["origin"], values["off"]["where"]) == ("config", "run.toml")
        changes = {"on": 0.2, "off": 0.01, "cool_down_s": 0.1}
        saved = ask(f"{url}api/v1/rules/save", {"camera": None, "changes": changes})
        assert saved["overridden"] == ["on"]
        stream = urllib.request.urlopen(f"{url}cam/porch.mjpg", timeout=10)
        assert b"edge-tsm-picture" in stream.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        stream.close()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert config.read_text().startswith("# mine\n")
    assert read_config(config).actions.cool_down_s == 0.1
    with EventStore(tmp_path / "events.db") as store:
        assert {event.kind for event in store.events()} == {"end"}
        store.logits.begin(_labels(bundle), "softmax")
        assert store.logits.tracks(3600)


def ask(url: str, body: object = None) -> Any:
    """What a page answers to a GET, or to a POST of a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def _labels(bundle: Path) -> tuple[str, ...]:
    return tuple(json.loads((bundle / "card.json").read_text())["labels"])


def test_a_port_in_use_is_one_line_before_all_else(tmp_path: Path) -> None:
    with Address(port=0).listen() as listener:
        page = f"127.0.0.1:{listener.getsockname()[1]}"
        done = run(tmp_path / "no.bundle", *CAMERA, "--page", page)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"{page}: cannot be listened on (Address already in use)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--page", "bundle"], "is no address; write HOST:PORT"),
        (["--page", "."], "BUNDLE goes before --page"),
        (["--page", "127.0.0.1:0", "--page-token", "written-out"], "write env:NAME or file:PATH"),
        (["--page", "127.0.0.1:0", "--page-token", "env:NO_SUCH"], "is not set"),
        (
            ["--page", "192.0.2.1:80", "--page-token", "env:PAGE"],
            "192.0.2.1:80: cannot be listened",
        ),
        (["--page", "127.0.0.1:0", "--page-tls", __file__, __file__], "cannot be used"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGE", "a token that is long enough")
    done = run("no.bundle", *CAMERA, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_page_is_for_live_sources() -> None:
    with pytest.raises(InputError, match="--page is for live sources"):
        PageOptions(page="127.0.0.1:0").requests(live=False)


def test_a_page_for_others_tells_its_token_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    for _ in range(2):
        with ExitStack() as stack:
            PageOptions(page="0.0.0.0:0").open(stack)
    token = (tmp_path / "page-token").read_text().strip()
    first, kept, clear, second, _ = capsys.readouterr().err.splitlines()
    assert "go over the network in clear" in clear
    assert first.endswith(f"/#token={token}")
    assert str(tmp_path / "page-token") in kept
    assert token not in second


def test_without_aiohttp_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("edge_tsm.service.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(InputError, match=r"pip install 'edge-tsm\[page\]'"), ExitStack() as stack:
        PageOptions(page="127.0.0.1:0").open(stack)
