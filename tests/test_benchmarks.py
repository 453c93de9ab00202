"""The benchmarks measure what they say: runs in turns, and an export like a user's own."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="benchmarks compare with torch")

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py"))
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
        by_hand = HandExport(path)(clips)
    assert float((ours - by_hand).abs().max()) < 1e-4 * float(ours.abs().max())


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_its_question_where_users_look(script: str) -> None:
    text = (ROOT / f"benchmarks/{script}.py").read_text(encoding="utf-8")
    if "__main__" in text:
        question, _, rest = text.removeprefix('"""').partition("\n")
        assert question.endswith("?")
        assert f"python benchmarks/{script}.py" in rest
        assert f"benchmarks/{script}.py" in TOLD
