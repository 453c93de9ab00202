"""What Home Assistant takes as a device's discovery message, written down from its documentation.

Keys of its MQTT integration's pages on device discovery, and on each platform; nothing else may be
there, as it would be ignored or refused.
"""

from __future__ import annotations

from typing import Any

TOPIC = {"type": "string", "minLength": 1, "pattern": "^[^#+\\x00]+$"}
TEXT = {"type": "string"}
AVAILABILITY = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"topic": TOPIC, "value_template": TEXT},
        "required": ["topic"],
        "additionalProperties": False,
    },
}
_COMMON: dict[str, Any] = {
    "platform": TEXT,
    "name": {"type": ["string", "null"]},
    "unique_id": {"type": "string", "minLength": 1},
    "entity_category": {"enum": ["diagnostic", "config"]},
    "availability": AVAILABILITY,
    "availability_mode": {"enum": ["all", "any", "latest"]},
    "json_attributes_topic": TOPIC,
    "qos": {"enum": [0, 1, 2]},
    "icon": TEXT,
}


def _platform(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**_COMMON, **properties},
        "required": ["platform", "unique_id", *required],
        "additionalProperties": False,
    }


PLATFORMS = {
    "event": _platform(
        ["state_topic", "event_types"],
        state_topic=TOPIC,
        value_template=TEXT,
        event_types={"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True},
    ),
    "sensor": _platform(
        ["state_topic"],
        state_topic=TOPIC,
        value_template=TEXT,
        unit_of_measurement=TEXT,
        device_class={"enum": ["duration"]},
        state_class={"enum": ["measurement", "total", "total_increasing"]},
    ),
    "binary_sensor": _platform(
        ["state_topic"],
        state_topic=TOPIC,
        value_template=TEXT,
        payload_on=TEXT,
        payload_off=TEXT,
        device_class={"enum": ["connectivity"]},
    ),
    "image": _platform(["image_topic"], image_topic=TOPIC, content_type={"const": "image/jpeg"}),
    "switch": _platform(["command_topic"], command_topic=TOPIC, state_topic=TOPIC),
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "device": {
            "type": "object",
            "properties": {
                "identifiers": {"type": "array", "items": TEXT, "minItems": 1},
                **{key: TEXT for key in ("name", "manufacturer", "model", "sw_version")},
            },
            "required": ["identifiers"],
            "additionalProperties": False,
        },
        "origin": {
            "type": "object",
            "properties": {"name": TEXT, "sw_version": TEXT, "support_url": TEXT},
            "required": ["name"],
            "additionalProperties": False,
        },
        "availability": AVAILABILITY,
        "components": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "properties": {"platform": {"enum": list(PLATFORMS)}},
                "required": ["platform"],
                "allOf": [
                    {"if": {"properties": {"platform": {"const": name}}}, "then": schema}
                    for name, schema in PLATFORMS.items()
                ],
            },
        },
    },
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
}
