"""Write the published checkpoints into checkpoints.md: python docs/released_checkpoints.py."""

from pathlib import Path

from converters.checkpoints.released import markdown

PAGE = Path(__file__).parent / "checkpoints.md"
START, END = "<!-- released: made by released_checkpoints.py -->\n", "<!-- /released -->\n"


def render(page: str) -> str:
    """Return the page with the table as it is now."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{markdown()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), encoding="utf-8")
