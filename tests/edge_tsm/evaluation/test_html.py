"""The page of an evaluation: whole, alone, and safe whatever classes and files are called."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2")

from edge_tsm.data.clips import Sample
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.evaluation.html import as_html
from edge_tsm.evaluation.journal import Outcome
from edge_tsm.evaluation.views import ViewProtocol
from tests.helpers.videos import write_video

HOSTILE = "</script><img src=http://evil/x onerror=alert(1)>{{ 7*7 }}"


def evaluation(labels: tuple[str, ...], clips: int, path: Path = Path("gone.mp4")) -> Evaluation:
    rng = np.random.default_rng(len(labels))
    outcomes = []
    for i in range(clips):
        logits = rng.normal(size=len(labels)).astype(np.float32)
        sample = Sample(path, int(rng.integers(len(labels))), f"{HOSTILE} {i}")
        outcomes.append(Outcome(sample, {HOSTILE: logits}))
    outcomes.append(Outcome(Sample(path, 0, "torn.mp4"), {}, "torn.mp4: cannot be read"))
    return Evaluation(labels, (HOSTILE,), tuple(outcomes), ViewProtocol())


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_inert(page: str) -> None:
    """Nothing is requested, and no attribute runs or styles anything."""
    tags = Tags()
    tags.feed(page)
    for _, attributes in tags.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not {"iframe", "object", "embed", "link", "base", "form"} & {
        tag for tag, _ in tags.found
    }


@pytest.mark.parametrize("classes", [1, 2, 9, 400])
def test_a_page_of_any_number_of_classes_runs_nothing_of_others(classes: int) -> None:
    labels = tuple(f"{HOSTILE} 挥手 {i}" for i in range(classes))
    page = as_html(evaluation(labels, 3 * classes), {HOSTILE: "model.onnx"})
    assert page.count("<script>") == 1
    assert "<img src=http" not in page
    assert "{{ 7*7 }}" in page  # as it is: names are no templates
    assert "挥手" in page
    assert_inert(page)
    data = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert len(data) == (classes > 24)
    for text in data:
        assert json.loads(text)["labels"][3].endswith("挥手 3")


def test_the_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    page = as_html(evaluation(("a", "b"), 5), {"m": "model.onnx"})
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert_inert(page)


def test_worst_clips_have_small_pictures(tmp_path: Path) -> None:
    video = write_video(tmp_path / "x.avi", 12)
    page = as_html(evaluation(("a", "b"), 60, video), {"m": "model.onnx"})
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(pictures) == 3 * 12
    assert all(base64.b64decode(p)[:2] == b"\xff\xd8" and len(p) < 20_000 for p in pictures)
    assert "torn.mp4: cannot be read" in page


def test_answers_of_several_classes_have_precisions_instead_of_confusions() -> None:
    found = evaluation(("a", "b"), 8)
    several = Evaluation(
        found.labels, found.columns, found.outcomes, found.protocol, activation="sigmoid"
    )
    page = as_html(several, {"m": "model.onnx"})
    assert "mAP" in page
    assert "Average precision" in page
