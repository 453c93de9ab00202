"""The benchmarks measure what they say: runs in turns, and an export like a user's own."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from edge_tsm import demo
from edge_tsm.backends import RuntimeOptions, open_backend

pytest.importorskip("torch", reason="benchmarks compare with torch")

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(p.stem for p in (ROOT / "benchmarks").glob("[a-z]*.py"))
TOLD = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_every_round_visits_every_run() -> None:
    from turns import in_turns

    order = list[str]()
    found = in_turns(
        {name: lambda name=name: order.append(name) for name in "ab"},
        rounds=2,
        settle_s=0,
        visit_s=0,
    )
    visits = [order[i] for i in range(len(order)) if i % 4 == 0]  # one to settle, three timed
    assert visits == list("abbaab")  # the first round warms up; every second goes backwards
    assert {name: len(times) for name, times in found.rounds.items()} == {"a": 2, "b": 2}


def test_ratios_are_those_of_the_same_round() -> None:
    from turns import Turns

    slow_spell = Turns({"tsm, x": [11.0, 110.0, 11.0], "twin, x": [10.0, 100.0, 10.0]})
    assert slow_spell.ratio("tsm, x", "twin, x") == 1.1
    assert slow_spell.ms() == {"tsm, x": 11.0, "twin, x": 10.0}
    assert slow_spell.fastest("tsm", "twin") == "twin, x"


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv2"])
def test_the_export_by_hand_is_the_same_network(arch: str, tmp_path: Path) -> None:
    import torch
    from networks import HandExport

    from converters.architectures.classifier import build_reference
    from converters.planning import plan
    from converters.recipe import Options
    from tests.helpers.upstream import write_checkpoint

    path = write_checkpoint(tmp_path, arch)
    planned = plan(path, Options())
    clips = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 24, 64, 64), np.float32))
    with torch.no_grad():
        ours = build_reference(planned.recipe, planned.checkpoint.tensors)(clips)
        by_hand = HandExport(planned)(clips)
    assert float((ours - by_hand).abs().max()) < 1e-4 * float(ours.abs().max())


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_its_question_where_users_look(script: str) -> None:
    text = (ROOT / f"benchmarks/{script}.py").read_text(encoding="utf-8")
    if "__main__" in text:
        question, _, rest = text.removeprefix('"""').partition("\n")
        assert question.endswith("?")
        assert f"python benchmarks/{script}.py" in rest
        assert f"benchmarks/{script}.py" in TOLD


def test_a_video_network_is_measured_in_all_forms(tmp_path: Path) -> None:
    from video_networks import ENGINES, NETWORKS, Subject, measure, untrained

    from converters.architectures.classifier import build_reference
    from converters.architectures.slowfast import slowfast
    from converters.architectures.topologies import initialize
    from converters.checkpoints.facebook_slowfast import CONVENTION
    from converters.recipe import Options

    options = Options(segments=4, interval=2, size=64, own={"alpha": 2})
    tiny = slowfast(8, (1, 1, 1, 1), alpha=2, thinner=2)
    planned = untrained(tiny, CONVENTION, options, fresh=initialize)
    by_hand = build_reference(planned.recipe, planned.checkpoint.tensors)
    found = measure(Subject(planned, by_hand), tmp_path, rounds=2, seconds=0)
    kinds = ("by hand", "f32", "int8")
    assert found["runs"].keys() == {"torch", *(f"{k} {e}" for k in kinds for e in ENGINES)}
    assert found["runs"]["by hand openvino"]["times_faster"]["openvino"] == 1
    assert 0 < found["mib"]["int8"] < found["mib"]["f32"]
    import choose

    assert choose.PUBLISHED.keys() == NETWORKS.keys()
    lines = list(choose.table({"SlowFast R50 4x16": found}))
    assert lines[-1].startswith("| SlowFast R50 4x16 | ")
    assert lines[-1].endswith("|  |  | 75.6 % |")
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib; all else has passed")
    page = tmp_path / "page.png"
    choose.draw(dict.fromkeys(NETWORKS, found), page)
    assert page.stat().st_size > 1000


def test_what_is_measured_is_written_before_the_next_network(tmp_path: Path) -> None:
    import json
    import sys

    from apart import each

    out, seen = tmp_path / "out.json", list[bool]()

    def command(name: str, found: Path) -> list[str]:
        seen.append(out.exists())
        text = f"open({str(found)!r}, 'w').write('{{\"ms\": 1}}')"
        return [sys.executable, "-c", "raise SystemExit(3)" if name == "broken" else text]

    failed = each(["one", "broken", "two"], command, out=out, limit_s=60)
    assert seen == [False, True, True]
    assert json.loads(out.read_text())["results"] == {"one": {"ms": 1}, "two": {"ms": 1}}
    [line] = failed
    assert line.startswith("broken: ")
    assert "3" in line


def test_every_golden_of_clips_is_answered_by_both_engines(shared: Path) -> None:
    """By a run that takes a quarter of an hour; tests of their own take some of them anew."""
    import json

    from goldens import HR, names_of

    from tests.helpers.goldens import load_golden, sees_clips

    found = json.loads((ROOT / "benchmarks/results/goldens.json").read_text())["results"]
    names = names_of(shared)
    clips = {name for name in names if name == HR or sees_clips(load_golden(name, shared))}
    assert len(clips) > 20
    assert clips <= found.keys()
    for name, row in found.items():
        for form in ("torch", "onnxruntime", "openvino"):
            assert row[form] <= row["allowed"], (name, form)


def test_what_got_worse_beyond_noise_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = importlib.import_module("benchmarks.__main__")
    before = {"ms": {"engine": 10.0}, "clips_per_s": [10.0, 10.1, 9.9], "ratio": 2.0, "seed": 7}
    after = {"ms": {"engine": 10.5}, "clips_per_s": [9.0, 9.1, 8.9], "ratio": 2.5, "seed": 9}
    for name, results in (("old", before), ("new", after)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(json.dumps({"results": results}))
    assert runs.compare(tmp_path / "old", tmp_path / "new", noise=0.1) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "x: clips_per_s: 10 -> 9, 10 % worse (noise 5 %)",
        "1 figures got worse beyond noise, of 1 files in both",
    ]
    assert runs.compare(tmp_path / "new", tmp_path / "old", noise=0.1) == 1  # the ratio


def test_everything_that_runs_unasked_is_a_script() -> None:
    runs = importlib.import_module("benchmarks.__main__")
    assert set(SCRIPTS) >= runs.RUNS.keys()


@pytest.mark.parametrize("name", ("split", "one_pad", "pad_of_all", "zeros_joined"))
def test_every_form_of_the_shift_answers_the_same(name: str, tmp_path: Path) -> None:
    import shift_forms

    written = demo.bundle() / "model.int8.onnx"
    form = getattr(shift_forms, name)
    other = shift_forms.in_form(written, tmp_path / "other.onnx", form)
    clip = np.random.default_rng(0).standard_normal((1, 24, 224, 224)).astype(np.float32)
    answers = [
        open_backend("onnxruntime", path, RuntimeOptions()).run({"clip": clip})["logits"]
        for path in (written, other)
    ]
    assert np.array_equal(*answers)
    assert other.read_bytes() != written.read_bytes()
