"""README and docs say what is so: their commands run, or at least parse; the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from edge_tsm import demo, errors
from edge_tsm.actions.rules import read_rules
from edge_tsm.demo.synthetic import LABELS, generate
from tests.helpers.fenced import PAGES, Block, blocks, commands, parse
from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = [page for page in PAGES if page.name != "README.md"]  # its blocks run in test_readme.py
CHINESE = [page for page in DOCS if page.parent.name == "zh"]  # these show what others do
RUN = [page for page in DOCS if page not in CHINESE]
REASONS = {"installs", "needs", "changes the machine", "its exit code depends", "is not"}
OTHERS = {  # of pip, venv, podman, and upstream's scripts
    *("--index-url", "--system-site-packages"),
    *("--build-arg", "--runtime", "--target"),
    "--softmax",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runs(page: Path, *marks: str) -> list[Block]:
    return [b for b in blocks(page) if b.language in ("sh", "python") and b.mark in ("", *marks)]


def shown(block: Block) -> set[str]:
    """The lines of a block, without comments."""
    return {line.split("#")[0].strip() for line in block.text.splitlines()} - {""}


def news(page: Path) -> list[Block]:
    """What runs of a page, without blocks whose every line stands on a page before it."""
    earlier = [b for p in PAGES[: PAGES.index(page)] for b in blocks(p) if b.mark in ("", "tour")]
    before = {line for b in earlier for line in shown(b)}
    return [b for b in runs(page) if b.language == "python" or not shown(b) <= before]


def write_video(path: Path, scenes: Iterable[tuple[int, int]]) -> None:
    """Generated scenes (seed, class) one after the other, 2 s each, 25 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    for seed, label in scenes:
        for frame in generate(seed, label=label, times=50, short_side_px=240):
            film.write(np.ascontiguousarray(frame))
    film.release()


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: bundles, a checkpoint, a video, labeled clips."""
    folder = tmp_path_factory.mktemp("things")
    (folder / "gestures.bundle").symlink_to(demo.bundle())
    (folder / "online.bundle").symlink_to(demo.bundle("online"))
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "ckpt.best.pth.tar").symlink_to(ROOT / "examples/demo/ckpt.best.pth.tar")
    write_video(folder / "clip.mp4", [(3, 0), (14, 4), (25, 6)])
    (folder / "day.mp4").symlink_to(folder / "clip.mp4")
    (folder / "recordings").mkdir()
    (folder / "recordings/night.mp4").symlink_to(folder / "clip.mp4")
    for label in (0, 1):
        for seed in (0, 1):
            write_video(folder / f"clips/{LABELS[label]}/{seed}.mp4", [(seed, label)])
    lines = [f"clips/{LABELS[k]}/{seed}.mp4 {k}\n" for k in (0, 1) for seed in (0, 1)]
    for name in ("train", "val"):
        (folder / f"{name}.txt").write_text("".join(lines))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return folder


def run(chosen: list[Block], folder: Path) -> None:
    """Run blocks in one folder, in order; those in Python as one program."""
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "PYTHONPATH": str(ROOT)}
    python = "".join(block.text for block in chosen if block.language == "python")
    for block in [b for b in chosen if b.language == "sh"]:
        execute(["sh", "-euc", block.text], folder, environment, str(block))
    if python:
        execute([sys.executable, "-c", python], folder, environment, "its Python")


def execute(command: list[str], folder: Path, environment: dict[str, str], what: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{what}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", [p for p in RUN if news(p)], ids=name_of)
def test_what_a_page_shows_runs(page: Path, things: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(things, tmp_path / "page", symlinks=True)
    run(news(page), folder)


@pytest.mark.docs
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "page", [p for p in RUN if any(b.mark == "nightly" for b in blocks(p))], ids=name_of
)
def test_what_takes_long_runs(page: Path, things: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="it converts or trains")
    folder = shutil.copytree(things, tmp_path / "page", symlinks=True)
    run(runs(page, "nightly"), folder)


@pytest.mark.parametrize("page", CHINESE, ids=name_of)
def test_a_chinese_page_shows_what_an_english_one_does(page: Path) -> None:
    english = {line for p in PAGES if p not in CHINESE for b in blocks(p) for line in shown(b)}
    for block in blocks(page):
        if block.language in ("sh", "python"):
            assert shown(block) <= english, block


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_parses(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = "\n".join(re.findall(r"^ {4}( *\S.*)$", text, re.MULTILINE))
    inline = "\n".join(re.findall(r"`(edge-tsm [^`\n]+)`", text))
    for source in [*(b.text for b in blocks(page) if b.language in ("sh", "")), shown, inline]:
        for words in commands(source):
            parse(words)


@pytest.mark.parametrize("line", ["edge-tsm run --sauce x", "edge-tsm walk", "edge-tsm run --on 7"])
def test_a_stale_command_would_be_found(line: str) -> None:
    import click

    [words] = commands(f"PORCH=x {line} | tee log")
    with pytest.raises(click.UsageError):
        parse(words)


def test_every_option_that_is_named_exists() -> None:
    import click

    from edge_tsm.cli import COMMANDS, main

    scripts = "".join(p.read_text() for d in ("examples", "benchmarks", "docs/scripts")
                      for p in (ROOT / d).glob("*.py"))  # fmt: skip
    known = set(re.findall(r"--[a-z][a-z0-9-]*", scripts)) | OTHERS | {"--help", "--version"}
    for command in [main, *(known.load() for known in COMMANDS.values())]:
        known |= {name for p in command.params if isinstance(p, click.Option)
                  for name in (*p.opts, *p.secondary_opts)}  # fmt: skip
    for page in PAGES:
        named = re.findall(
            r"`(--[a-z][a-z0-9-]*[a-z0-9])(?![\w-])", page.read_text(encoding="utf-8")
        )
        assert set(named) <= known, (name_of(page), set(named) - known)


def test_what_is_not_run_says_why() -> None:
    for page in PAGES:
        for block in blocks(page):
            kind, _, reason = block.mark.partition(": ")
            if kind == "not run":
                assert any(word in reason for word in REASONS), block


def test_settings_that_are_shown_can_be_read(tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "toml":
                keys = tomllib.loads(block.text)
                if "on" in keys:
                    (tmp_path / "rules.toml").write_text(block.text)
                    read_rules(str(tmp_path / "rules.toml"))
            if block.language == "yaml":
                yaml.safe_load(block.text)


def test_extras_that_are_installed_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in PAGES:
        for extras in re.findall(r"(?:edge-tsm|-e '\.)\[([a-z,]+)\]", page.read_text("utf-8")):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), name_of(page)


def test_readme_is_one_screen() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192
    assert (ROOT / "docs/pictures/demo.webp").stat().st_size < 2_000_000


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_exit_codes_are_those_of_the_errors() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    table = {(int(code), name) for code, name in re.findall(r"^\| (\d+) .*\| `(\w+)` \|$", page, re.MULTILINE)}  # fmt: skip  # noqa: E501
    leaves = {(c.exit_code, c.__name__) for c in vars(errors).values() if isinstance(c, type)
              and issubclass(c, errors.EdgeTsmError)}  # fmt: skip
    assert leaves == table


def test_variables_of_the_environment_are_told() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    code = "".join(path.read_text() for path in (ROOT / "edge_tsm").rglob("*.py"))
    for name in set(re.findall(r'"(EDGE_TSM_[A-Z_]+)"', code)):
        assert f"`{name}`" in page


def script(name: str) -> Any:
    """A script of the docs as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/scripts/{name}.py")
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says() -> None:
    pytest.importorskip("torch", reason="of published checkpoints the converters know")
    pages = [name_of(page) for page, _ in script("reference").stale()]
    assert not pages, "run `python docs/scripts/reference.py`"


def test_drawings_are_what_the_script_draws() -> None:
    svg = script("svg")
    for name in ("doors", "shift"):
        assert (ROOT / f"docs/pictures/{name}.svg").read_text() == str(getattr(svg, name)())


@pytest.mark.docs
def test_all_pictures_can_be_made_anew(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "docs/scripts/pictures.py", "--out", tmp_path]
    subprocess.run(command, check=True, timeout=280, env={**os.environ, "PYTHONPATH": str(ROOT)})
    made = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(made) == {"demo.webp", "decisions.svg", "doors.svg", "shift.svg"}
    assert made["demo.webp"] < 2_000_000


def test_the_site_builds_and_asks_no_other_host(tmp_path: Path) -> None:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(DOCS)
    loaded = re.compile(r"<(?:script|img|source|iframe)[^>]+src=\"https?:|<link[^>]+href=\"https?:")
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name
