"""Pickles read as data: what they say is kept, nothing that they name is imported or called."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any

Maker = Callable[..., Any]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules that weights have no use for: a file that names one of them means to run something.
_RUN_CODE = _words(
    "os posix nt subprocess commands sys runpy importlib imp pkgutil shutil socket ctypes pty code "
    "codeop webbrowser marshal pickle cPickle _pickle dill cloudpickle signal multiprocessing "
    "threading asyncio timeit cProfile profile pdb trace bdb platform popen2 pip linecache "
    "operator _operator"
)
_HARMLESS_BUILTINS = _words(
    "set frozenset list dict tuple int float complex str bytes bytearray bool object slice range "
    "getattr unicode long xrange"
)
_CALLS = _words("eval exec execfile open system popen")  # in whatever module
_BUILTINS = ("builtins", "__builtin__", "__builtins__")
_VALUES = _words(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT "
    "BINFLOAT"
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = ("PROTO", "FRAME", "STOP")
_KEYS = (str, int, float, bytes, type(None))


class Global:
    """A name that a pickle refers to; `name` is `module.qualname`."""

    def __init__(self, module: str, qualname: str) -> None:
        self.name = f"{module}.{qualname}"
        root, call = module.partition(".")[0], qualname.rpartition(".")[2]
        builtin = root in _BUILTINS and qualname not in _HARMLESS_BUILTINS
        if root in _RUN_CODE or builtin or call in _CALLS:
            raise pickle.UnpicklingError(f"Unsupported GLOBAL {self.name}")


class Inert:
    """What a pickle says about an object whose class is not known here; it does nothing."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name, self.args = name, args
        self.state: Any = None
        self.entries: dict[Any, Any] = {}

    @property
    def fields(self) -> dict[str, Any]:
        """Attributes and entries by name, as far as there are any."""
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        found: dict[Any, Any] = {}
        for part in (*states, self.entries):
            if isinstance(part, Mapping):
                found |= part
        return {name: value for name, value in found.items() if isinstance(name, str)}


class Machine:
    """Runs one pickle of a stream, up to its STOP; `makers` make values of the few names known.

    A maker gets the arguments that the pickle gives; any other name becomes an `Inert`.
    """

    def __init__(
        self, stream: IO[bytes], makers: Mapping[str, Maker], persistent: Maker | None = None
    ) -> None:
        self._stream, self._makers, self._persistent = stream, makers, persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return what the pickle holds.

        Raises:
            UnpicklingError: it names what would run code.
            ValueError, IndexError, KeyError, …: it is damaged.
        """
        for opcode, arg, _ in pickletools.genops(self._stream):
            name = opcode.name
            if name in _VALUES:
                self._stack.append(arg)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name not in _IGNORED:
                step = _STEPS.get(name)
                if step is None:
                    raise pickle.UnpicklingError(f"{name} has no place in a checkpoint")
                step(self, arg)
        return self._stack.pop()

    # --- the stack ---

    def _pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _drop_mark(self, _: Any) -> None:
        self._pop_mark()

    def _mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    # --- containers ---

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(items)

    def _marked(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self._pop_mark()
        self._stack.append(kind(items))

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)

    def _set(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        entries = target.entries if isinstance(target, Inert) else target
        if isinstance(entries, dict):
            entries |= _dict(pairs)

    # --- names and what is made of them ---

    def _global(self, module: str, name: str) -> None:
        self._stack.append(Global(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise pickle.UnpicklingError("a name is no text")
        self._global(module, name)

    def _reduce(self, _: Any) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self.call(function, args))

    def _new_ex(self, _: Any) -> None:
        self._stack.pop()  # keywords: no maker takes any
        self._reduce(None)

    def _object(self, _: Any) -> None:
        function, *args = self._pop_mark()
        self._stack.append(self.call(function, tuple(args)))

    def _instance(self, name: str) -> None:
        args = self._pop_mark()
        self._stack.append(self.call(Global(*name.split(" ", 1)), tuple(args)))

    def call(self, function: Any, args: Any) -> Any:
        """Return what stands for `function(*args)`."""
        name = function.name if isinstance(function, Global) else type(function).__name__
        given = args if isinstance(args, tuple) else ()
        maker = self._makers.get(name) if isinstance(function, Global) else None
        return maker(*given) if maker else Inert(name, given)

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Inert):
            self._stack[-1].state = state

    def _persist(self, name: Any) -> None:
        if self._persistent is None:
            raise pickle.UnpicklingError("it refers to data that is not in the file")
        self._stack.append(self._persistent(name))


def _dict(pairs: list[Any]) -> dict[Any, Any]:
    """Return pairs by key; keys that are no plain values, which weights do not have, are left out.

    To hash a deeply nested tuple overflows the interpreter's stack.
    """
    keys, values = pairs[::2], pairs[1::2]
    return {k: v for k, v in zip(keys, values, strict=True) if isinstance(k, _KEYS)}


_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": Machine._mark,
    "POP": Machine._pop,
    "POP_MARK": Machine._drop_mark,
    "DUP": lambda m, _: m._stack.append(m._stack[-1]),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine._put),
    "EMPTY_TUPLE": lambda m, _: m._stack.append(()),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda m, _: m._stack.append([])),
    "EMPTY_DICT": lambda m, _: m._stack.append({}),
    "TUPLE": lambda m, _: m._marked(tuple),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda m, _: m._marked(list)),
    "DICT": lambda m, _: m._marked(_dict),
    "APPEND": lambda m, _: m._extend([m._stack.pop()]),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: m._extend(m._pop_mark())),
    "SETITEM": lambda m, _: m._set([m._stack.pop(), m._stack.pop()][::-1]),
    "SETITEMS": lambda m, _: m._set(m._pop_mark()),
    "GLOBAL": lambda m, arg: m._global(*arg.split(" ", 1)),
    "STACK_GLOBAL": Machine._stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), Machine._reduce),
    "NEWOBJ_EX": Machine._new_ex,
    "OBJ": Machine._object,
    "INST": Machine._instance,
    "BUILD": Machine._build,
    "PERSID": Machine._persist,
    "BINPERSID": lambda m, _: m._persist(m._stack.pop()),
}
