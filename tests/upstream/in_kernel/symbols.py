"""Symbols: what stands for a library that is not there, and for everything that it answers."""

from __future__ import annotations

import dis
import importlib.abc
import importlib.machinery
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from in_kernel import record
from in_kernel.record import digest, event, value_text

REAL = {"IPython", "ipywidgets", "traitlets", "ipykernel", "nbformat", "dl4mic_forms", "in_kernel"}


class _Kind(type):
    """The class of symbols, and of the classes that a module that is not there offers."""

    _label: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = symbol(f"{cls._label}.{name}")
        setattr(cls, name, made)
        return made


def _combined(*parts: Any) -> str:
    text = "".join(each if isinstance(each, _Literal) else value_text(each) for each in parts)
    return text if len(text) < 160 else f"{text[:80]}…{digest(text)}"


class _Literal(str):
    pass


_TEXT_METHODS = {name for name in dir(str) if not name.startswith("_")}


class Symbol(str, metaclass=_Kind):
    """A text too, because file names and search patterns are asked of libraries."""

    _label = "symbol"

    def __new__(cls, *values: Any, **named: Any) -> Any:
        return _instance(cls, called(cls._label, values, named))

    def __init__(self, *values: Any, **named: Any) -> None:
        pass

    def __init_subclass__(cls, **named: Any) -> None:
        if "_label" not in vars(cls):
            cls._label = cls.__name__

    def __getattribute__(self, name: str) -> Any:
        if name in _TEXT_METHODS:
            return self.__getattr__(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_repr_", "_ipython")):
            raise AttributeError(name)
        if name in vars(self):
            return vars(self)[name]
        made = symbol(f"{self._label}.{name}")
        object.__setattr__(self, name, made)
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        event(_combined(_Literal(f"{self._label}.{name} = "), value))
        object.__setattr__(self, name, value)

    def __call__(self, *values: Any, **named: Any) -> Any:
        label = called(self._label, values, named)
        decorates = len(values) == 1 and not named and isinstance(values[0], (types.FunctionType, type))
        return values[0] if decorates else symbol(label)

    def __iter__(self) -> Iterator[Any]:
        return iter([symbol(f"{self._label}[{index}]") for index in range(_wanted(sys._getframe(1)))])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: Any) -> Any:
        return symbol(_combined(_Literal(self._label + "["), key, _Literal("]")))

    def __setitem__(self, key: Any, value: Any) -> None:
        event(_combined(_Literal(self._label + "["), key, _Literal("] = "), value))

    def __delitem__(self, key: Any) -> None:
        event(_combined(_Literal(self._label + "["), key, _Literal("] deleted")))

    def __contains__(self, value: Any) -> bool:
        return False

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> bool:
        return False

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        return 1

    __index__ = __int__

    def __round__(self, digits: int = 0) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0

    def __repr__(self) -> str:
        return str.__str__(self)

    __str__ = __fspath__ = __repr__

    def __format__(self, how: str) -> str:
        return repr(self)

    def __hash__(self) -> int:
        return hash(self._label)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self._label == other._label

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __lt__


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: Any, *others: Any) -> Any:
        return symbol(_combined(_Literal(f"{self._label} {name} "), *others))

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "matmul"):
    for _side in ("", "r"):
        setattr(Symbol, f"__{_side}{_name}__", _operator(_side + _name))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Symbol, f"__{_name}__", _operator(_name))


def called(label: str, values: Any, named: Any) -> str:
    text = _combined(_Literal(label + "("), *values, _Literal("; "), *named.items(), _Literal(")"))
    event(text)
    return text


def symbol(label: str) -> Any:
    """What `label` says. Its last word tells a class and an exception from the rest, as names of libraries do."""
    word = label.rpartition(".")[2]
    if word == "__version__":
        return "2.0.0"
    if re.fullmatch(r"\w+(?:Error|Exception|Warning)", word):
        return type(word, (Exception,), {})
    if re.fullmatch(r"[A-Z]\w*", word):
        return _Kind(word, (Symbol,), {"_label": label})
    return _instance(Symbol, label)


def _instance(kind: type[Symbol], label: str) -> Any:
    made = str.__new__(kind, "symbol-" + digest(label)[:8])
    object.__setattr__(made, "_label", label)
    return made


def _wanted(frame: types.FrameType) -> int:
    """As many parts as the code asks for: n in `a, b, c = symbol`, else 2."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at + 1] if code[at] == dis.opmap["UNPACK_SEQUENCE"] else 2


class _Module(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("__all__", "__file__", "__wrapped__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        made = sys.modules[full] if full in sys.modules else symbol(full)
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Symbols for what the notebook's own code imports; other code finds what is installed."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.partition(".")[0]
        if top in REAL or top in sys.stdlib_module_names or top.startswith("_"):
            return None
        if top not in self.made and not self._asked_by_notebook():
            return None
        self.made.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def _asked_by_notebook(self) -> bool:
        frame: Any = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_globals.get("__name__", ""):
            frame = frame.f_back
        return frame is not None and frame.f_globals is record.shell.user_ns

    def create_module(self, spec: Any) -> Any:
        return _Module(spec.name)

    def exec_module(self, module: Any) -> None:
        pass
