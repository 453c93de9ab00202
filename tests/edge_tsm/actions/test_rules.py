"""Rules come from a preset or a TOML file, which is read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_tsm.actions.rules import PRESETS, Rules, Threshold, read_rules
from edge_tsm.errors import InputError


def read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return read_rules(str(path))


def test_a_file_says_everything(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        """
        on = 0.7
        off = 0
        mean_answers = 4
        min_duration_s = 1
        background = ["No gesture"]
        [thresholds]
        "Stop Sign" = { on = 0.9, off = 0.5 }
        """,
    )
    assert rules == Rules(
        on=0.7,
        off=0.0,
        mean_answers=4,
        min_duration_s=1.0,
        background=("No gesture",),
        thresholds={"Stop Sign": Threshold(0.9, 0.5)},
    )


def test_a_file_starts_from_a_preset(tmp_path: Path) -> None:
    rules = read(tmp_path, 'preset = "jester-demo"\ncool_down_s = 1')
    assert rules.cool_down_s == 1
    assert rules.held == PRESETS["jester-demo"].held
    assert read_rules("jester-demo") is PRESETS["jester-demo"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onn = 1", "onn is unknown; did you mean 'on'?"),
        ("on = 'x'", "on is 'x', expected a number"),
        ("on = true", "on is True, expected a number"),
        ("mean_answers = 1.5", r"mean_answers is 1\.5, expected a whole number"),
        ("mean_answers = true", "mean_answers is True, expected a whole number"),
        ("background = 'x'", "background is 'x', expected a list, each item a string"),
        ("background = ['x', 1]", r"background\[1\] is 1, expected a string"),
        ("on = 0.3", "0 <= off <= on <= 1 is needed, got on 0.3, off 0.4"),
        ("on = nan", "on is nan, expected a number"),
        ("decay_s = inf", "decay_s is inf, expected a number"),
        ("decay_s = 1\nmean_answers = 2", "two ways of smoothing"),
        ("mean_answers = 0", "must be 1 to 10000"),
        ("preset = 'x'", "preset is 'x'; there is jester-demo"),
        ("thresholds = 1", r"thresholds is 1, expected a table of keys, each a table \{on, off\}"),
        ("[thresholds]\na = 0.5", r"thresholds\.a is 0\.5, expected a table \{on, off\}"),
        ("[thresholds]\na = {on = 0.1, off = 0.2}", "thresholds of 'a'"),
        ("[thresholds]\na = {on = 0.1, of = 0.2}", "thresholds.a.of is unknown; .* 'off'"),
        ("[thresholds]\n'a b' = {on = 0.1}", r"thresholds\['a b'\]\.off is missing"),
        ("[thresholds]\na = {on = 1, off = '0'}", r"thresholds\.a\.off is '0', expected a number"),
        ("=", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "rules.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["jester", "no/such.toml", "."])
def test_neither_preset_nor_file(name: str) -> None:
    with pytest.raises(InputError, match=r"neither a preset \(jester-demo\) nor a readable file"):
        read_rules(name)
