"""The JSON Schemas that are shipped; `python -m tests.helpers.schemas` writes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edge_tsm
from edge_tsm.actions.rules import rules_schema
from edge_tsm.bundle.card import card_schema
from edge_tsm.events.record import event_schema, state_schema
from edge_tsm.service.config import config_schema
from edge_tsm.service.page_records import page_schema
from edge_tsm.sinks.answer import answer_schema

SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "bundle/card.schema.json": card_schema,
    "actions/rules.schema.json": rules_schema,
    "events/event.schema.json": event_schema,
    "events/state.schema.json": state_schema,
    "sinks/answer.schema.json": answer_schema,
    "service/config.schema.json": config_schema,
    "service/page.schema.json": page_schema,
}


def shipped(name: str) -> Path:
    """Where the package has the file."""
    return Path(edge_tsm.__file__).parent / name


def text_of(name: str) -> str:
    """What the types say now."""
    return json.dumps(SCHEMAS[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        shipped(name).write_text(text_of(name), encoding="utf-8")
