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
    runs = importlib.import_module("benchmarks.compare")
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


def test_bytes_as_input_answer_as_what_is_quantized_in_the_graph(tmp_path: Path) -> None:
    import onnx
    import shift_forms
    from onnx import numpy_helper

    written = demo.bundle() / "model.int8.onnx"
    graph = onnx.load(str(written)).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    (first,) = (node for node in graph.node if node.input[:1] == ["clip"])
    scale, zero = (constants[name] for name in first.input[1:])
    clip = np.random.default_rng(0).standard_normal((1, 24, 224, 224)).astype(np.float32)
    as_bytes = np.clip(np.rint(clip / scale) + zero, 0, 255).astype(np.uint8)
    other = shift_forms.of_bytes(written, tmp_path / "bytes.onnx")
    answers = [
        open_backend("onnxruntime", path, RuntimeOptions()).run({"clip": given})["logits"]
        for path, given in ((written, clip), (other, as_bytes))
    ]
    assert np.array_equal(*answers)


def test_the_spread_that_a_file_holds_is_the_noise_of_its_figures() -> None:
    from turns import told

    compare = importlib.import_module("benchmarks.compare")
    before = told("ms", {"steady": [10.0, 10.1, 9.9], "shaky": [10.0, 14.0, 6.0]})
    assert before == {
        "ms": {"steady": 10.0, "shaky": 10.0},
        "ms_mad": {"steady": 0.1, "shaky": 4.0},
    }
    [steady, shaky] = compare.figures({"net": before})
    assert (steady.name, steady.mad, shaky.mad) == ("net.ms.steady", 0.1, 4.0)
    after = told("ms", {"steady": [11.0, 11.0, 11.0], "shaky": [19.0, 19.0, 19.0]})
    [change] = compare.changes(before, after, noise=0.1)
    assert change.name == "ms.steady"  # 10 % is more than its noise, 90 % is less than the other's
    assert next(compare.figures({"ms": 3.0, "ms_mad": 0.5})).mad == 0.5  # beside one number, too
    once = told("ms", {"run": [10.0]})
    assert [(f.name, f.mad) for f in compare.figures(once)] == [("ms.run", None)]


def test_the_page_of_figures_says_which_machine_and_command(tmp_path: Path) -> None:
    compare = importlib.import_module("benchmarks.compare")
    known = {
        "command": "python benchmarks/x.py --rounds 3",
        "cpu": "Some CPU",
        "features": ["AVX2"],
        "cpus": 2,
        "python": "3.11.7",
        "versions": {"decord": "0.6.0"},
    }
    results = {"net": {"ms": {"a|b": 12.345678}, "ms_mad": {"a|b": 0.5}, "seed": 7}}
    (tmp_path / "x.json").write_text(json.dumps({"environment": known, "results": results}))
    (tmp_path / "old.json").write_text(json.dumps({"results": {"ms": 3}}))
    page, table = compare.markdown(tmp_path), compare.overview(tmp_path)
    assert "`python benchmarks/x.py --rounds 3` on Some CPU, 2 cores (AVX2); Python 3.11.7" in page
    assert "decord 0.6.0" in page
    assert "| net.ms.a/b | 12.346 | 0.5 |" in page
    assert "seed" not in page
    assert "`python benchmarks/old.py` on not noted" in page
    assert "| [old](reference/figures.md#old) |" in table


def test_the_multiply_adds_of_a_graph_are_counted(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save
    from peak import multiply_adds

    def graph(*nodes: tuple[str, list[str], str, dict[str, int]], **shapes: list[int]) -> Path:
        made = [helper.make_node(k, given, [out], name=out, **a) for k, given, out, a in nodes]
        inputs = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s or None)
            for n, s in shapes.items()
        ]
        last = helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, None)
        model = helper.make_model(
            helper.make_graph(made, "x", inputs, [last]),
            opset_imports=[helper.make_opsetid("", 17)],
        )
        save(model, str(tmp_path / "x.onnx"))
        return tmp_path / "x.onnx"

    # 2 pictures x 4 channels x 5 x 5 (no padding), of 2 inputs a group and 3x3 each
    grouped = ("Conv", ["x", "w"], "y", {"group": 2})
    assert multiply_adds(graph(grouped, x=[2, 4, 7, 7], w=[4, 2, 3, 3])) == 2 * 4 * 25 * 18
    batched = ("MatMul", ["a", "b"], "y", {})
    assert multiply_adds(graph(batched, a=[3, 5, 7], b=[7, 11])) == 3 * 5 * 7 * 11
    turned = ("Gemm", ["a", "b"], "y", {"transA": 1})
    assert multiply_adds(graph(turned, a=[7, 5], b=[7, 11])) == 5 * 7 * 11
    through = (("Relu", ["a"], "r", {}), ("MatMul", ["r", "r"], "s", {}), ("Add", "ss", "y", {}))
    assert multiply_adds(graph(*through, a=[4, 4])) == 64
    with pytest.raises(ValueError, match="the shape of a is not known"):
        multiply_adds(graph(batched, a=[], b=[7, 11]))
    with pytest.raises(ValueError, match="Einsum are not counted"):
        multiply_adds(
            graph(("Einsum", ["a", "b"], "y", {"equation": "ij,jk->ik"}), a=[2, 3], b=[3, 2])
        )


def test_int8_counts_as_many_multiply_adds_as_its_f32() -> None:
    from peak import multiply_adds, of_bundle

    from edge_tsm import demo

    macs = of_bundle(demo.bundle())
    assert macs == multiply_adds(demo.bundle() / "model.int8.onnx")
    # What torchvision's MobileNetV2 of width 0.35 takes for a picture, 59 million, for eight of 160
    # pixels or so: of that order, not of another.
    assert 1e8 < macs < 1e9


def test_the_share_of_the_peak_is_told_of_int8_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import peak

    monkeypatch.setattr(peak, "peak", lambda threads=None: {"int8": 100.0 * (threads or 2)})
    shares = peak.int8_shares({"x f32": 5.0, "x int8": 10.0}, 10**9)
    assert shares == {"x int8": 0.5}  # 10^11 a second of 2 * 10^11
    assert peak.share_of_int8_peak(10.0, 10**9, threads=1) == 1.0


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", ["product", "convolution"])
def test_what_measures_the_peak_multiplies(
    kind: str, int8: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peak

    from edge_tsm.backends import RuntimeOptions, open_backend

    sizes = {"SIDE": 16, "CHANNELS": 4, "PICTURES": 2, "PICTURE": 5, "DEPTH": 2}
    for name, small in sizes.items():
        monkeypatch.setattr(peak, name, small)
    path = getattr(peak, kind)(tmp_path, int8=int8)
    shape = (16, 16) if kind == "product" else (2, 4, 5, 5)
    assert peak.multiply_adds(path) == 2 * (16**3 if kind == "product" else 2 * 4 * 25 * 4 * 9)
    x = np.random.default_rng(0).random(shape, np.float32)
    answers = [
        open_backend(engine, path, RuntimeOptions(precision="f32")).run({"x": x})["y"]
        for engine in peak.RUNTIMES
    ]
    assert answers[0].std() > 0.1
    np.testing.assert_allclose(answers[0], answers[1], atol=1 / 64 + 1e-4)  # a step of int8


def test_readers_are_asked_for_the_frames_of_the_tsm_rule() -> None:
    from readers import SEGMENTS, chosen

    from edge_tsm.inference.sampling import uniform_indices

    for count in (1, 7, 8, 9, 250, 1501):
        assert chosen(count) == uniform_indices(count, SEGMENTS)


@pytest.mark.timeout(120)
def test_readers_of_video_are_compared_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    from contextlib import ExitStack

    from decode import EXACT, OURS, Peer, measure

    from tests.helpers.videos import write_video

    paths = [write_video(tmp_path / f"{number}.avi", 12) for number in range(2)]
    with ExitStack() as stack:
        peers = {n: stack.enter_context(Peer(n)) for n in (OURS, EXACT, "nobody")}
        assert peers.pop("nobody").error == "KeyError: 'nobody'"
        found = measure(peers, paths, rounds=1)
        assert found["off_by"] == dict.fromkeys((OURS, EXACT), "equal to the bit")
        assert found["ms"].keys() == {OURS, EXACT}
        assert found["times_ours"].keys() == {EXACT}
        (tmp_path / "broken.avi").write_bytes(b"none" * 100)
        broken = peers[OURS].read([tmp_path / "broken.avi"])
    assert broken["error"].startswith("SourceError")


def test_frames_that_differ_say_by_how_much() -> None:
    from decode import off_by

    one = [np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 9, np.uint8)]
    other = [one[0], one[1] + 3]
    assert off_by(one, one) == "equal to the bit"
    assert off_by(one, other) == {"largest": 3, "mean": 1.5, "mean_of_worst_frame": 3.0}
    assert off_by(one, [one[0], one[1][:1]]) == "other sizes"
