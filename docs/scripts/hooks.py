"""What mkdocs does besides: the changelog is a page, links to other files lead to copies."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()(\.\./[^)#\s]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add CHANGELOG.md, whose links start at the root of the repository."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to the repository's own files lead to copies of them in the site."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def copied(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        if path.startswith("docs/") or not (ROOT / path).is_file():
            return match[0]
        target = f"repository/{path}"
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, abs_src_path=str(ROOT / path)))
        return match[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(copied, markdown)
