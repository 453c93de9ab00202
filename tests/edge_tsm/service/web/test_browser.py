"""The page in a real browser: a run of eight cameras, of which one hangs, with hostile labels."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from edge_tsm.actions.decider import Decider
from edge_tsm.actions.rules import Rules
from edge_tsm.datatypes import Event, Prediction
from tests.helpers.http_servers import free_port
from tests.helpers.live_page import LABELS, PageRun, chromium, labeled_bundle, page_run
from tests.helpers.mjpeg import FaultyCamera

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytest.importorskip("aiohttp", reason="the page needs aiohttp")
pytest.importorskip("av", reason="clips that a browser plays need PyAV")

PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
TIMEOUT_MS = 20_000
TABS = ("live", "events", "tune", "health")
OTHERS = [f"cam{number}" for number in range(3, 9)]
expect = sync_api.expect
pytestmark = pytest.mark.timeout(120)


def write_config(folder: Path, hall: str) -> Path:
    """A run that decides often, by low thresholds; `hall` is the address of a camera that hangs."""
    slow = "".join(
        f'[sources.{name}]\naddress = "test://64x48/5"\nevery = 4.0\n' for name in OTHERS
    )
    path = folder / "edge-tsm.toml"
    path.write_text(
        f'bundle = "{labeled_bundle(folder).name}"\n'
        '[sources.porch]\naddress = "test://320x240/15"\n'
        f'[sources.hall]\naddress = "{hall}"\nevery = 4.0\n{slow}'
        "[input]\ntimeout = 3\n"
        "[actions]\nactions = true\non = 0.3\noff = 0.2\n"
        '[output]\nevents = "events.db"\nsnapshots = "snapshots"\nclips = "clips"\n'
    )
    return path


@pytest.fixture(scope="module")
def hall() -> Iterator[FaultyCamera]:
    with FaultyCamera() as camera:
        yield camera


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, hall: FaultyCamera) -> Iterator[PageRun]:
    config = write_config(tmp_path_factory.mktemp("run"), hall.url("ok", fps=10))
    with page_run(config, free_port()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """Pages of one context, and what they asked for and complained about."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.sockets: list[Any] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.context.on("console", self._console)
        self.context.on("dialog", lambda dialog: self.complaints.append(dialog.message))

    def _console(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, address: str) -> Any:
        page = self.context.new_page()
        page.on("websocket", lambda socket: self.sockets.append(socket))
        page.goto(address)
        return page


@pytest.fixture(scope="module")
def laptop(browser: Any) -> Iterator[Watched]:
    watched = Watched(browser, viewport=LAPTOP)
    yield watched
    watched.context.close()


@pytest.fixture(scope="module")
def page(laptop: Watched, run: PageRun) -> Any:
    """The page that most tests look at, one after the other."""
    page = laptop.open(run.url)
    expect(page.locator(".cam")).to_have_count(8, timeout=TIMEOUT_MS)
    return page


def picture(name: str) -> str:
    return f'.cam[data-key="{name}"] canvas.picture'


def is_answer_of_porch(frame: str | bytes) -> bool:
    return isinstance(frame, str) and '"answer"' in frame and '"porch"' in frame


def pixels(page: Any, selector: str) -> str:
    return str(page.locator(selector).evaluate("canvas => canvas.toDataURL()"))


def wait_for_other_pixels(page: Any, selector: str, before: str) -> None:
    changed = "([canvas, before]) => document.querySelector(canvas).toDataURL() !== before"
    page.wait_for_function(changed, arg=[selector, before])


def wait_for_pictures(page: Any, selector: str, more_than: int) -> None:
    shown = "([canvas, count]) => Number(document.querySelector(canvas).dataset.shown) > count"
    page.wait_for_function(shown, arg=[selector, more_than])


def open_tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name.capitalize()).click()
    expect(page.locator(f"#panel-{name}")).to_be_visible()


def open_tune(page: Any) -> None:
    """Show the tab Tune, without what an earlier test changed there."""
    open_tab(page, "tune")
    expect(page.locator(".verdict .figure")).to_be_visible()
    discard = page.get_by_role("button", name="Discard")
    if discard.is_enabled():
        discard.click()
    expect(discard).to_be_disabled()


def test_eight_cameras_show_moving_pictures_in_one_page(page: Any) -> None:
    for name in ("porch", "hall", *OTHERS):
        wait_for_pictures(page, picture(name), 1)
    wait_for_other_pixels(page, picture("porch"), pixels(page, picture("porch")))


def test_number_keys_choose_a_camera_and_space_pauses_the_pictures(
    page: Any, laptop: Watched
) -> None:
    open_tab(page, "live")
    page.locator("main").focus()
    page.keyboard.press("3")
    expect(page.locator('.cam[data-key="cam3"]')).to_have_attribute("data-selected", "")
    page.keyboard.press("1")
    expect(page.locator('.cam[data-key="porch"]')).to_have_attribute("data-selected", "")
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    shown = page.locator(picture("porch")).get_attribute("data-shown")
    for _ in range(2):  # answers go on meanwhile
        with laptop.sockets[-1].expect_event("framereceived", is_answer_of_porch):
            pass
    assert page.locator(picture("porch")).get_attribute("data-shown") == shown
    page.keyboard.press(" ")
    wait_for_pictures(page, picture("porch"), int(shown))


def test_a_hidden_page_asks_for_no_pictures(page: Any, laptop: Watched) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    socket = laptop.sockets[-1]
    with socket.expect_event("framesent", lambda sent: '"pictures":[]' in str(sent)):
        page.evaluate(hide, True)
    with socket.expect_event("framesent", lambda sent: '"pictures":["porch"' in str(sent)):
        page.evaluate(hide, False)


def test_a_class_that_is_pressed_stays_in_the_strip(page: Any) -> None:
    entry = page.locator(".legend button").last
    name = entry.get_attribute("title")
    entry.click()
    pinned = page.locator('.legend button[aria-pressed="true"]')
    expect(pinned).to_have_count(1)
    expect(pinned).to_have_attribute("title", f"{name} (pinned)")
    pinned.click()
    expect(pinned).to_have_count(0)


def test_as_many_classes_as_are_pinned_differ_and_not_by_color_alone(page: Any) -> None:
    pin = """async () => {
        const {pins} = await import("/static/js/trace.js");
        const {state} = await import("/static/js/state.js");
        state.labels.forEach((_, index) => pins.toggle(state.selected, index));
    }"""
    page.evaluate(pin)
    expect(page.locator('.legend button[aria-pressed="true"]')).to_have_count(len(LABELS))
    marks = page.locator("#panel-live .legend .swatch")
    shapes = marks.evaluate_all("all => all.map(one => one.innerHTML)")
    assert len(set(shapes)) == len(LABELS) > 8
    page.evaluate(pin)  # none again


def test_a_clock_that_is_set_back_does_not_stop_the_strip(page: Any) -> None:
    noon, hour = 1_800_000_000_000, 3_600_000
    add = """async times => {
        const {Trace} = await import("/static/js/trace.js");
        const trace = new Trace("porch");
        for (const t of times) trace.add(t, [[0, 0.5]]);
        return trace.points.map(({t}) => t);
    }"""
    times = [noon - hour - 1000, noon, noon + 500, noon + 400, noon - hour, noon - hour + 500]
    assert page.evaluate(add, times) == [times[0], *times[-2:]]


def test_what_the_model_sees_is_a_strip_of_the_windows_frames(page: Any) -> None:
    page.keyboard.press("m")
    film = page.locator('.cam[data-key="porch"] canvas.film')
    expect(film).to_be_visible()
    selector = '.cam[data-key="porch"] canvas.film'
    wait_for_other_pixels(page, selector, pixels(page, selector))
    page.keyboard.press("m")
    expect(film).to_be_hidden()


def test_labels_are_text_whatever_they_are(page: Any, laptop: Watched) -> None:
    open_tab(page, "events")
    options = page.locator("#filter-label option")
    expect(options).to_have_count(len(LABELS) + 1)
    assert options.evaluate_all("all => all.slice(1).map(one => one.value)") == list(LABELS)
    assert page.evaluate("window.hacked") is None


def test_a_clip_plays_to_its_end_in_the_list(page: Any) -> None:
    open_tab(page, "events")
    with_clip = page.locator("#panel-events .event:has(.badge) .open").last
    page.wait_for_function(  # clips are written seconds after the start
        "() => document.querySelector('#panel-events .event .badge')", timeout=TIMEOUT_MS
    )
    with_clip.click()
    video = page.locator("#panel-events video")
    video.evaluate("one => { one.playbackRate = 8; one.loop = false; }")
    page.wait_for_function("() => document.querySelector('#panel-events video')?.ended")
    assert video.evaluate("one => one.error") is None
    assert video.evaluate("one => one.videoWidth") > 0


def test_a_thumb_down_asks_what_it_was_and_is_kept(page: Any, run: PageRun) -> None:
    open_tab(page, "events")
    event = page.locator("#panel-events .event").last
    key = event.get_attribute("data-key")
    event.locator('[data-verdict="down"]').click()
    page.get_by_role("dialog").get_by_role("button", name=LABELS[3]).click()
    expect(page.locator(f'#panel-events .event[data-key="{key}"] .note')).to_have_text(
        f"It was: {LABELS[3]}"
    )
    assert run.get(f"events/{key}")["feedback"]["label"] == LABELS[3]


def decided(events: Path, answers: int, rules: Rules) -> int:
    """Count the actions of a new run over the oldest stored answers."""
    query = "SELECT source, time_s, logits FROM answers ORDER BY number LIMIT ?"
    with closing(sqlite3.connect(f"file:{events}?mode=ro", uri=True)) as database:
        rows = database.execute(query, (answers,)).fetchall()
    assert len(rows) == answers
    deciders = {source: Decider(rules, LABELS) for source, _, _ in rows}
    found = list[Event]()
    for source, time_s, blob in rows:
        logits = np.frombuffer(blob, "<f4").astype(np.float32)
        found += (
            deciders[source].update(Prediction(LABELS, logits, logits, 0.0), time_s=time_s).events
        )
    found += [event for decider in deciders.values() for event in decider.finish()]
    return sum(event.kind == "end" for event in found)


def test_the_preview_tells_what_a_new_run_of_the_decider_finds(page: Any, run: PageRun) -> None:
    open_tune(page)
    page.get_by_role("slider", name="Threshold on").focus()
    with page.expect_response(
        lambda one: one.url.endswith("/preview") and '"on":0.9' in (one.request.post_data or "")
    ) as told:
        for _ in range(6):
            page.keyboard.press("PageUp")
    answers, figure = told.value.json()["answers"], page.locator(".verdict .figure")
    by_hand = [
        decided(run.folder / "events.db", answers, Rules(on=on, off=0.2)) for on in (0.3, 0.9)
    ]
    expect(figure).to_have_text(f"{by_hand[0]} → {by_hand[1]} events")
    assert by_hand[0] > by_hand[1]


def test_a_threshold_is_dragged_on_the_strip(page: Any) -> None:
    open_tune(page)
    handle = page.get_by_role("slider", name="Threshold on")
    expect(handle).to_have_attribute("aria-valuenow", "30")
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] - 20, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 60, steps=4)
    page.mouse.up()
    expect(handle).to_have_attribute("aria-valuenow", re.compile(r"4\d|5\d"))
    value = handle.get_attribute("aria-valuenow")
    expect(page.get_by_role("spinbutton", name="Starts at (on)")).to_have_value(value)


def test_a_try_is_told_on_every_tab_and_can_be_ended(page: Any, run: PageRun) -> None:
    open_tune(page)
    page.get_by_role("slider", name="Threshold on").press("PageUp")
    page.get_by_role("button", name="Try 10 min").click()
    banner = page.locator("#banner")
    expect(banner).to_contain_text(re.compile(r"other rules: (10:00|9:\d\d) left"))
    assert run.get("rules")["scopes"][0]["trying"]["left_s"] > 0
    banner.get_by_role("button", name="Revert").click()
    expect(banner).to_be_hidden()
    assert run.get("rules")["scopes"][0]["trying"] is None


def save(page: Any, on: str, *, table: str = "") -> None:
    """Give `on` another value, read the difference, and save it; `table` is new in the file."""
    field = page.get_by_role("spinbutton", name="Starts at (on)")
    field.fill(on)
    field.press("Tab")
    page.get_by_role("button", name="Save…").click()
    difference = page.get_by_role("dialog").locator(".diff")
    expect(difference).to_contain_text(f"+on = 0.{on}")
    expect(difference).to_contain_text(table)
    page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#toast")).to_contain_text("Saved to edge-tsm.toml")


def saved_on(run: PageRun) -> float:
    return float(run.get("rules")["scopes"][0]["values"]["on"]["value"])


def test_a_save_is_undone_after_the_difference_was_shown(page: Any, run: PageRun) -> None:
    open_tune(page)
    save(page, "55")
    assert saved_on(run) == 0.55
    page.get_by_role("button", name="Undo last save").click()
    expect(page.get_by_role("dialog").locator(".diff")).to_contain_text("-on = 0.55")
    assert saved_on(run) == 0.55
    page.get_by_role("dialog").get_by_role("button", name="Undo", exact=True).click()
    expect(page.locator("#toast")).to_contain_text("Undone in edge-tsm.toml")
    assert saved_on(run) == 0.3


def test_a_camera_without_rules_of_its_own_is_given_some(page: Any, run: PageRun) -> None:
    open_tune(page)
    page.get_by_role("button", name="Only porch").click()
    save(page, "65", table="[sources.porch.rules]")
    shared, porch = run.get("rules")["scopes"]
    assert (porch["camera"], porch["values"]["on"]["value"]) == ("porch", 0.65)
    assert (shared["values"]["on"]["value"], len(shared["cameras"])) == (0.3, 7)
    expect(page.get_by_text("These rules are porch's own.")).to_be_visible()
    page.get_by_role("button", name="Undo last save").click()
    page.get_by_role("dialog").get_by_role("button", name="Undo", exact=True).click()
    expect(page.get_by_role("button", name="All 8 cameras")).to_be_visible()
    page.get_by_role("button", name="All 8 cameras").click()


def test_what_is_saved_outlasts_a_restart_and_the_page_comes_back_by_itself(
    page: Any, run: PageRun
) -> None:
    open_tune(page)
    save(page, "45")
    run.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    expect(page.locator('.cam[data-key="porch"] .pill')).to_have_text("unknown")
    run.start()
    expect(page.locator("#banner")).to_be_hidden(timeout=2 * TIMEOUT_MS)
    assert saved_on(run) == 0.45
    expect(page.get_by_role("spinbutton", name="Starts at (on)")).to_have_value("45")


def test_a_hung_camera_shows_as_such_and_as_back(
    page: Any, run: PageRun, hall: FaultyCamera
) -> None:
    open_tab(page, "live")
    pill = page.locator('.cam[data-key="hall"] .pill')
    expect(pill).to_have_text("live", timeout=TIMEOUT_MS)
    hall.hung.set()
    expect(pill).to_have_text(re.compile(r"(silent|lost) \d+ s"), timeout=TIMEOUT_MS)
    expect(page.locator(".summary")).to_have_text(re.compile(r"hall: (silent|lost) \d+ s"))
    hall.hung.clear()
    expect(pill).to_have_text("live", timeout=TIMEOUT_MS)


def test_the_keyboard_alone_reaches_everything(page: Any) -> None:
    page.reload()
    expect(page.locator("#panel-live .event").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Live")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Events")).to_be_focused()
    expect(page.locator("#panel-events")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    event = page.locator("#panel-events .event .open").last
    event.focus()
    page.keyboard.press("Enter")
    expect(event).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Tab")
    up = page.locator('#panel-events .event [data-verdict="up"]').last
    expect(up).to_be_focused()
    page.keyboard.press("Enter")
    expect(up).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, run: PageRun, theme: str) -> None:
    watched = Watched(browser, viewport=PHONE, color_scheme=theme, reduced_motion="reduce")
    page = watched.open(run.url)
    expect(page.locator(".cam")).to_have_count(8)
    found = [(name, one) for name in TABS for one in serious(page, name)]
    page.keyboard.press("?")
    found += [("help", one) for one in serious(page, None)]
    watched.context.close()
    assert not found


def serious(page: Any, tab: str | None) -> list[str]:
    """Return axe's serious findings, each with the elements."""
    if tab:
        open_tab(page, tab)
    response = axe.Axe().run(page).response
    assert response["passes"]
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes']][:5]}"
        for one in response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction_only(browser: Any, run: PageRun, width: int) -> None:
    watched = Watched(browser, viewport={"width": width, "height": 700})
    page = watched.open(run.url)
    expect(page.locator("#panel-live .event").first).to_be_visible()
    for name in TABS:
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    watched.context.close()


def test_a_token_is_asked_for_and_a_page_to_look_at_changes_nothing(
    browser: Any, run: PageRun, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-token-of-some-length-for-the-page")
    (tmp_path / "token").chmod(0o600)
    config = tmp_path / "edge-tsm.toml"
    config.write_text(
        f'bundle = "{labeled_bundle(tmp_path).name}"\n'
        '[sources.one]\naddress = "test://64x48/5"\n'
        "[actions]\nactions = true\non = 0.3\noff = 0.2\n"
    )
    options = ("--page-token", f"file:{tmp_path / 'token'}", "--page-read-only")
    watched = Watched(browser, viewport=PHONE)
    with page_run(config, free_port(), *options) as second:
        page = watched.open(second.url)
        field = page.get_by_label("Token")
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#token-problem")).not_to_be_empty()
        page.goto("about:blank")
        page.goto(f"{second.url}#token=a-token-of-some-length-for-the-page")
        expect(page.locator(".cam")).to_have_count(1)
        assert page.evaluate("location.hash") == ""
        expect(page.locator("#readonly")).to_be_visible()
        expect(page.locator('#panel-live [data-verdict="up"]').first).to_be_disabled()
        open_tab(page, "tune")
        page.get_by_role("slider", name="Threshold on").press("PageUp")
        expect(page.locator(".verdict .figure")).to_contain_text("→")
        expect(page.get_by_role("button", name="Save…")).to_be_disabled()
    watched.context.close()


def test_nothing_foreign_was_asked_for_and_nothing_went_wrong(
    page: Any, laptop: Watched, run: PageRun
) -> None:
    assert laptop.asked and laptop.sockets
    asked = [*laptop.asked, *(socket.url for socket in laptop.sockets)]
    assert {urlsplit(address).netloc for address in asked} == {urlsplit(run.url).netloc}
    assert [words for words in laptop.complaints if "WebSocket" not in words] == []
