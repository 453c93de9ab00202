"""The types that JSON and TOML files are read into: one strict decoder, and their JSON Schema.

A type is a dataclass, `str`, `int`, `float`, `bool`, `Literal`, `X | None`, a union of plain types,
`tuple` (a list), `dict` or `Mapping` with string keys, or one of these `Annotated` with a `Note`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from edge_tsm.errors import CardError, EdgeTsmError

Kind = TypeVar("Kind")
Json = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {
    str: ("a string", "string"),
    int: ("a whole number", "integer"),
    float: ("a number", "number"),
    bool: ("true or false", "boolean"),
    types.NoneType: ("null", "null"),
}


@dataclasses.dataclass(frozen=True)
class Note:
    """Keywords of JSON Schema that a type does not say; `decode` leaves them to others."""

    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    const: int | None = None
    exclusive_minimum: float | None = None

    def keywords(self) -> Json:
        """Return those that are given."""
        given = {key: value for key, value in vars(self).items() if value is not None}
        if "exclusive_minimum" in given:
            given["exclusiveMinimum"] = given.pop("exclusive_minimum")
        return given


def decode(
    kind: type[Kind],
    value: object,
    where: str,
    error: type[EdgeTsmError] = CardError,
    *,
    path: str = "",
    start: Kind | None = None,
) -> Kind:
    """Turn parsed JSON or TOML into a value of type `kind`; nothing is converted or left out.

    Args:
        kind: the type; keys of a dataclass with a default may be missing.
        value: what the parser returned.
        where: the origin, for messages: the name of the file.
        error: what is raised.
        path: the name of `value` in messages; names of keys follow it.
        start: values for the keys of a dataclass that are missing, instead of its defaults.

    Raises:
        EdgeTsmError: an `error` that names the key which is missing, unknown or ill-typed.

    >>> from edge_tsm.bundle.card import Sampling
    >>> data = {"rule": "loop", "segments": 8, "window_s": 2, "every_s": 1, "interval": 8}
    >>> decode(Sampling, {**data, "fps": None}, "card.json", path="sampling")
    Sampling(rule='loop', segments=8, window_s=2.0, every_s=1.0, interval=8, fps=None)
    >>> decode(Sampling, data, "card.json", path="sampling")
    Traceback (most recent call last):
    edge_tsm.errors.CardError: card.json: sampling.fps is missing
    >>> decode(Sampling, {**data, "segmets": 8}, "card.json", path="sampling")
    Traceback (most recent call last):
    edge_tsm.errors.CardError: card.json: sampling.segmets is unknown; did you mean 'segments'?
    """
    decoder = _Decoder(where, error)
    if start is None:
        decoded: Kind = decoder.value(kind, value, path)
        return decoded
    given = decoder.fields(kind, value, path, required=False)
    return dataclasses.replace(start, **given)  # type: ignore[type-var]


@dataclasses.dataclass(frozen=True)
class _Decoder:
    where: str
    error: type[EdgeTsmError]

    def value(self, kind: Any, value: object, path: str) -> Any:
        kind, _ = _bare(kind)
        origin = get_origin(kind)
        if dataclasses.is_dataclass(kind):
            return kind(**self.fields(kind, value, path))  # type: ignore[operator]
        if origin is Literal:
            return self._choice(kind, value, path)
        if _is_mapping(origin):
            return self._mapping(kind, value, path)
        if origin is tuple:
            return self._tuple(kind, value, path)
        if _is_union(origin):
            return self._union(kind, value, path)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind or _is_odd(value):
            self._refuse(kind, value, path)
        return value

    def fields(
        self, kind: Any, value: object, path: str, *, required: bool = True
    ) -> dict[str, Any]:
        """Return the arguments of a dataclass."""
        data = self._expect(Mapping, kind, value, path)
        hints = _hints(kind)
        for key in data:
            if key not in hints:
                self._fail(_below(path, key), f"is unknown{did_you_mean(str(key), hints)}")
        for key in _required(kind) if required else ():
            if key not in data:
                self._fail(_below(path, key), "is missing")
        return {key: self.value(hints[key], data[key], _below(path, key)) for key in data}

    def _mapping(self, kind: Any, value: object, path: str) -> dict[str, Any]:
        items = self._expect(Mapping, kind, value, path)
        for key in filter(_is_odd, items):
            self._fail(path, f"has the key {key!r}, which is no text")
        of_items = get_args(kind)[1]
        return {key: self.value(of_items, item, _below(path, key)) for key, item in items.items()}

    def _choice(self, kind: Any, value: object, path: str) -> object:
        choices = get_args(kind)
        if value not in choices:
            known = ", ".join(map(str, choices))
            self._fail(path, f"is {value!r:.60}, this edge-tsm knows {known}")
        return value

    def _tuple(self, kind: Any, value: object, path: str) -> tuple[Any, ...]:
        items, args = self._expect(list, kind, value, path), get_args(kind)
        if args[-1] is not Ellipsis and len(items) != len(args):
            self._fail(path, f"has {len(items)} items, expected {len(args)}")
        return tuple(self.value(args[0], item, f"{path}[{i}]") for i, item in enumerate(items))

    def _union(self, kind: Any, value: object, path: str) -> object:
        """Decode `X | None`, or take a value of one of several plain types as it is."""
        parts = get_args(kind)
        if type(value) in parts and not _is_odd(value):
            return value
        others = [part for part in parts if part not in _PLAIN]
        if float in parts and type(value) is int:
            others = [float]
        if len(others) != 1:
            self._refuse(kind, value, path)
        return self.value(others[0], value, path)

    def _expect(self, container: type[Any], kind: Any, value: object, path: str) -> Any:
        if not isinstance(value, container):
            self._refuse(kind, value, path)
        return value

    def _refuse(self, kind: Any, value: object, path: str) -> typing.NoReturn:
        self._fail(path, f"is {value!r:.60}, expected {_words(kind)}")

    def _fail(self, path: str, problem: str) -> typing.NoReturn:
        raise self.error(": ".join(filter(None, (self.where, f"{path} {problem}".lstrip()))))


def did_you_mean(word: str, words: typing.Iterable[str]) -> str:
    """Return the end of a message that suggests the word that is nearest, or nothing."""
    import difflib  # for errors alone

    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _bare(kind: Any) -> tuple[Any, Json]:
    """Return a type without `Annotated`, and the keywords of its notes."""
    if get_origin(kind) is not typing.Annotated:
        return kind, {}
    kind, *notes = get_args(kind)
    return kind, {key: value for note in notes for key, value in note.keywords().items()}


def _is_odd(value: object) -> bool:
    """Return whether it is a number or text in name only: NaN, infinity, half of a character."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value)


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_union(origin: object) -> bool:
    return origin in (typing.Union, types.UnionType)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _required(kind: Any) -> list[str]:
    if typing.is_typeddict(kind):
        return [key for key in _hints(kind) if key in kind.__required_keys__]
    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is missing and field.default_factory is missing
    ]


def _below(path: str, key: object) -> str:
    if not isinstance(key, str) or not key.isidentifier():
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key


def _words(kind: Any) -> str:
    """Say what a value of this type looks like."""
    kind, _ = _bare(kind)
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind][0]
    if dataclasses.is_dataclass(kind):
        keys = [field.name for field in dataclasses.fields(kind)]
        return f"a table {{{', '.join(keys[:4])}{', …' if len(keys) > 4 else ''}}}"
    if origin is Literal:
        return " or ".join(map(repr, args))
    if _is_mapping(origin):
        return f"a table of keys, each {_words(args[1])}"
    if origin is tuple:
        return f"a list, each item {_words(args[0])}"
    return " or ".join(map(_words, args))


def json_schema(kind: Any, *, uri: str = "") -> Json:
    """Return the JSON Schema (2020-12) of a dataclass or `TypedDict`, described by its docstrings.

    A dataclass allows no other keys, as `decode` does not; a `TypedDict` does.

    >>> from edge_tsm.bundle.card import Streaming
    >>> schema = json_schema(Streaming)
    >>> schema["properties"]["fps"], schema["required"]
    ({'type': 'number'}, ['fps', 'horizon', 'caches'])
    """
    definitions: Json = {}
    schema = _object(kind, definitions)
    head = {"$schema": _DIALECT, **({"$id": uri} if uri else {})}
    return {**head, **schema, **({"$defs": definitions} if definitions else {})}


def _object(kind: Any, definitions: Json) -> Json:
    title, description, of_keys = _documented(kind)
    properties = {}
    for key, hint in _hints(kind).items():
        described = {"description": of_keys[key]} if key in of_keys else {}
        properties[key] = _schema(hint, definitions) | described
    schema: Json = {"title": title}
    if description:
        schema["description"] = description
    schema |= {"type": "object", "properties": properties}
    if required := _required(kind):
        schema["required"] = required
    return schema if typing.is_typeddict(kind) else schema | {"additionalProperties": False}


def _schema(kind: Any, definitions: Json) -> Json:
    kind, note = _bare(kind)
    return _of_type(kind, definitions) | note


def _of_type(kind: Any, definitions: Json) -> Json:
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind][1]}
    if origin is Literal:
        return {"enum": list(args)}
    if _is_mapping(origin):
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if origin is tuple:
        count = {} if args[-1] is Ellipsis else {"minItems": len(args), "maxItems": len(args)}
        return {"type": "array", "items": _schema(args[0], definitions), **count}
    if _is_union(origin):
        return _any_of([_schema(part, definitions) for part in args])
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # keeps its place before those it refers to
        definitions[kind.__name__] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _any_of(parts: list[Json]) -> Json:
    """Return a union; keywords apply to values of their own type, so plain types share one."""
    if not all("type" in part for part in parts):
        return {"anyOf": parts}
    merged = {key: value for part in parts for key, value in part.items()}
    return merged | {"type": [part["type"] for part in parts]}


def _documented(kind: Any) -> tuple[str, str, dict[str, str]]:
    """Return the first sentence of a docstring, the rest of its prose, and what `Args:` says."""
    text = (inspect.getdoc(kind) or kind.__name__).partition("\n\n>>>")[0]
    text, _, args = text.partition("\n\nArgs:\n")
    first, _, rest = text.partition("\n\n")
    found = re.findall(r"^    (\w[\w, ]*): (.+(?:\n {8,}.+)*)", args, re.MULTILINE)
    of_keys = {key: _flat(said) for keys, said in found for key in keys.split(", ")}
    return _flat(first), _flat(rest), of_keys


def _flat(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")
