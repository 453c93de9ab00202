"""The page's own files: nothing foreign, nothing inline, and text from data is never parsed."""

import re
from pathlib import Path

import pytest

import edge_tsm

STATIC = Path(edge_tsm.__file__).parent / "service/web/static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
NAMES = [path.relative_to(STATIC).as_posix() for path in FILES]
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_refers_to_nothing_foreign(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
    assert not re.findall(r"https?://[^\s\"'`]+", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_and_no_code_of_text(path: Path) -> None:
    words = "innerHTML|outerHTML|insertAdjacentHTML|document.write|DOMParser|eval|new Function"
    assert not re.findall(rf"\b(?:{words})\b", path.read_text(encoding="utf-8"))


def test_the_page_has_nothing_inline_and_every_file_that_it_names() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text)
    named = re.findall(r"/static/([\w./-]+)", text)
    assert named and set(named) <= set(NAMES)


def test_every_icon_that_a_script_names_is_there() -> None:
    icons = set(
        re.findall(r'symbol id="(\w+)"', (STATIC / "icons.svg").read_text(encoding="utf-8"))
    )
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    named = set(re.findall(r'\bicon\("(\w+)"\)', scripts))
    assert named and named <= icons
