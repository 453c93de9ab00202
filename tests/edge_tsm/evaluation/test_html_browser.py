"""The page of an evaluation in a real browser: its policy lets its own script run, and it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2")

from edge_tsm.data.clips import Sample
from edge_tsm.evaluation.evaluate import Evaluation
from edge_tsm.evaluation.html import as_html
from edge_tsm.evaluation.journal import Outcome
from edge_tsm.evaluation.views import ViewProtocol
from tests.helpers.live_page import chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CLASSES = 40


@pytest.mark.timeout(60)
def test_tables_sort_and_a_map_tells_what_is_under_the_pointer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = tuple(f"<b>挥手 {i}" for i in range(CLASSES))
    outcomes = []
    for i in range(3 * CLASSES):
        logits = rng.normal(size=CLASSES).astype(np.float32)
        logits[i % CLASSES] += 9 * (i % CLASSES == 20)
        outcomes.append(Outcome(Sample(Path("gone"), i % CLASSES, str(i)), {"m": logits}))
    found = Evaluation(labels, ("m",), tuple(outcomes), ViewProtocol())
    (tmp_path / "report.html").write_text(as_html(found, {"m": "model.onnx"}), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("request", lambda request: told.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        table = page.locator("section", has_text="Share of each class's").locator("table")
        table.get_by_role("button", name="m", exact=True).click()
        assert table.locator("tbody tr").first.locator("td").all_inner_texts() == [
            "<b>挥手 20", "3", "100.0 %"
        ]  # fmt: skip
        chart = page.locator(".map svg")
        side = chart.bounding_box()["width"] / CLASSES
        chart.hover(position={"x": 20.5 * side, "y": 20.5 * side})
        assert page.locator("output").inner_text() == "<b>挥手 20 → <b>挥手 20: 3 of 3"
        page.get_by_role("button", name="Enlarge").click()
        assert chart.get_attribute("viewBox") == "10 10 20 20"
        browser.close()
    assert told == [(tmp_path / "report.html").as_uri()]  # no other request, nothing refused
