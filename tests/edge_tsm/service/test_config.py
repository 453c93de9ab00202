"""A run as a file: strict, every option in its place, nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.cli import COMMANDS
from edge_tsm.cli.configuration import _OF_PAGE, _RENAMED, defaults
from edge_tsm.errors import InputError
from edge_tsm.service.config import RunConfig, read_config
from tests.helpers.paths import ROOT

EXAMPLE = ROOT / "examples" / "edge-tsm.toml"
OTHERWISE = {"config", "sources", "cameras", "sinks", "bundle"}  # places of their own


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def keys() -> set[str]:
    config = RunConfig()
    sections = (config.input, config.pace, config.output, config.actions, config.model)
    named = {_RENAMED.get(key, key) for section in sections for key in vars(section)}
    mqtt = {"mqtt" if key == "url" else f"mqtt_{key}" for key in vars(config.mqtt)}
    return named | mqtt | {"metrics"}


def test_every_option_of_run_has_its_place() -> None:
    parameters = {parameter.name for parameter in COMMANDS["run"].load().params}
    assert keys() | {_OF_PAGE[key] for key in vars(RunConfig().page)} == parameters - OTHERWISE
    assert {"sources", "sinks", "bundle"} <= vars(RunConfig()).keys()


def test_the_example_is_complete_and_right() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    config = read_config(EXAMPLE)
    assert list(config.sources) == ["porch", "hall"]
    assert config.sources["porch"].rules.on == 0.8
    for key in {
        key for key in (*keys(), *vars(config.page), "sinks", "address") if key != "as_json"
    } | {"json"}:
        assert f"{key.removeprefix('mqtt_')} = " in text or f"{key}]" in text, key


def test_the_example_is_right_with_all_that_is_commented_out(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    names = ("size = [", "fps =", "pixel_format =", "require_all", "telegram")
    kept = [
        line.removeprefix("# ") if "=" in line and not any(n in line for n in names) else line
        for line in lines
        if not line.startswith("# size, fps")
    ]
    text = "\n".join(kept).replace("# [", "[").replace("# A run", "# run")
    _, tables = text.split("bundle =", 1)
    config = read_config(write(tmp_path, "bundle =" + tables))
    assert config.actions.thresholds["wave"].on == 0.8
    given = defaults(config)
    assert (given["mqtt"], given["mqtt_scores"]) == ("mqtts://broker.local", True)
    assert given["metrics"] == "127.0.0.1:9109"
    assert defaults(config)["sinks"] == [
        *("webhook=env:SECOND_HOOK", "webhook=file:/etc/edge-tsm/third-hook")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windw = 1", "windw is unknown"),
        ("[pace]\nwindw = 1", "pace.windw is unknown; did you mean 'window'?"),
        ("[pace]\nwindow = '1'", "pace.window is '1', expected a number"),
        ("[pace]\nwindow = 0", "pace.window is 0.0, expected more than 0"),
        ("[pace]\nwindow = nan", "pace.window is nan, expected a number"),
        ("[pace]\nmax_answers = 0", "pace.max_answers is 0, expected 1 or more"),
        ("[actions]\non = 1.5", "actions.on is 1.5, expected 1 or less"),
        (
            "[actions.thresholds]\nwave = {on = 0.1, off = 0.5}",
            "wave is on 0.1, off 0.5",
        ),
        ("[sources.a]\naddress = 0\nrules = {on = 2.0}", "sources.a.rules.on is 2.0"),
        ("[model]\nthreads = 5000", "model.threads is 5000, expected 1024 or less"),
        ("[model]\nprecision = 'f64'", "model.precision is 'f64'"),
        ("[sources.a]\naddress = 0\ncrop = [0, 0, 1]", "sources.a.crop has 3 items, expected 4"),
        ("[sources.a]\naddress = 0\nrotate = 45", "sources.a.rotate is 45"),
        ("[sources.a]\naddress = -1", "sources.a.address is -1, expected 0 or more"),
        ("[sources.a]\naddress = 0\nrules = {onn = 1.0}", "sources.a.rules.onn is unknown"),
        ("[sources.a]\nsize = [1, 2]", "sources.a.address is missing"),
        ("[sources.'a b']\naddress = 0", "source name 'a b': use 1 to 64"),
        ("[sinks]\nwebhok = 'x'", "did you mean 'webhook'?"),
        ("[sinks]\nwindow = false", "sinks.window is false; leave it out"),
        ("[sinks]\nwebhook = 5", "sinks.webhook is 5"),
        ("bundle = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_mistakes_name_file_key_and_value(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="cannot be read"):
            read_config(path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not TOML"):
        read_config(tmp_path / "x.toml")


def test_a_secret_in_a_file_for_everybody_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "[sources.porch]\naddress = 'rtsp://u:hunter2@cam/1'"
    read_config(write(tmp_path, text))
    read_config(write(tmp_path, text.replace("u:hunter2@", ""), 0o644))
    assert not caplog.records
    read_config(write(tmp_path, text, 0o644))
    assert "others can read it; chmod 600" in caplog.text
    assert "hunter2" not in caplog.text
