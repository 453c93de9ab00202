"""Evaluation where a clip may have several classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_tsm.bundle.card import Output
from edge_tsm.cli.scores import as_text
from edge_tsm.data.clips import Dataset, Sample
from edge_tsm.data.sets import SetDataset, SetSample
from edge_tsm.datatypes import Tensor
from edge_tsm.errors import InputError
from edge_tsm.evaluation.evaluate import Evaluation, evaluate
from edge_tsm.evaluation.output import OutputFiles
from edge_tsm.evaluation.views import ViewProtocol
from edge_tsm.inference.recognizer import Recognizer
from tests.helpers.fakes import FakeBackend, make_card
from tests.helpers.videos import write_video


class Lucky(FakeBackend):
    """Says of every clip that it has the first two classes, the first one surely."""

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": np.tile(np.array([2, 1, -1], np.float32), (len(inputs["clip"]), 1))}


def model(activation: str = "sigmoid") -> Recognizer:
    card = replace(make_card(), output=Output("logits", activation))  # type: ignore[arg-type]
    return Recognizer(card, Lucky())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "a.avi", 10)


@pytest.fixture
def found(clip: Path) -> Evaluation:
    sets = ((0, 1), (0,), ())
    samples = [SetSample(clip, (*s, -1)[0], f"{i}.avi", labels=s) for i, s in enumerate(sets)]
    return evaluate({"lucky": model()}, SetDataset(tuple(samples)))


def test_clips_are_right_where_all_their_classes_are(found: Evaluation) -> None:
    figures = found.set_figures("lucky")
    assert (figures.clips, figures.exact) == (3, 1 / 3)
    assert (figures.found.tolist(), figures.wrong.tolist()) == ([2, 1, 0], [1, 2, 0])
    assert not found.exclusive


def test_tables_and_files_name_all_classes(found: Evaluation, tmp_path: Path) -> None:
    text = "\n".join(as_text(found))
    assert "mAP" in text
    assert "top-1" not in text
    files = OutputFiles(json=tmp_path / "x.json", csv=tmp_path / "x.csv")
    files.write(found, {"lucky": "fake"})
    sets = json.loads((tmp_path / "x.json").read_text())["results"]["lucky"]["sets"]
    assert sets["classes"][1] == {
        "label": "label 1", "clips": 1, "average_precision": 1 / 3, "found": 1, "wrong": 2
    }  # fmt: skip
    rows = [line.split(",") for line in (tmp_path / "x.csv").read_text().splitlines()[1:]]
    both = "label 0|label 1"
    assert [row[2:4] for row in rows] == [[both, both], ["label 0", both], ["", both]]
    assert [row[5] for row in rows] == ["1", "0", "0"]
    OutputFiles(html=tmp_path / "x.html").write(found, {"lucky": "fake"})
    page = (tmp_path / "x.html").read_text()
    assert "Average precision" in page
    assert "confused" not in page


def test_one_class_a_clip_has_both_kinds_of_figures(clip: Path) -> None:
    found = evaluate({"lucky": model()}, Dataset((Sample(clip, 0, "a"), Sample(clip, 1, "b"))))
    assert (found.exclusive, found.figures("lucky").top1) == (True, 0.5)
    text = "\n".join(as_text(found))
    assert "mAP" in text
    assert "top-1" in text


def test_what_does_not_go_together_is_refused(clip: Path) -> None:
    sets = SetDataset((SetSample(clip, 0, "a.avi", labels=(0, 1)),))
    with pytest.raises(InputError, match=r"a\.avi has 2 classes .* --activation sigmoid"):
        evaluate({"one": model("softmax")}, sets)
    with pytest.raises(InputError, match=r"one class .* several"):
        evaluate({"one": model("softmax"), "more": model()}, sets)
    with pytest.raises(InputError, match="average logits"):
        evaluate({"more": model()}, sets, ViewProtocol(average="softmax"))
