"""Architectures of users: a file, a module or an installed package that ends in its `architecture`.

The code of one is executed when a command names it, or when an installed package declares it in the entry-point group
`scalecli.architectures`; never because a run says that it was made with it.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import KNOBS, Knob, check_value
from scalecli.architectures.operators import operator_forms, operators
from scalecli.architectures.registry import ARCHITECTURES, register
from scalecli.architectures.shape import SHARED_FIELDS, Shape
from scalecli.errors import ConfigurationError, ScalecliError, nearest, reason_of
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec
from scalecli.storage.files import read_bytes

T = TypeVar("T")

ENTRY_POINTS = "scalecli.architectures"
SUFFIX = ".py"
_LARGEST = 2**20  # bytes of a file
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LETTERS = re.compile(r"[a-z]{1,12}")
_FLAG = re.compile(r"--[a-z][a-z-]{0,38}[a-z]")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass(frozen=True)
class Code:
    """The file of a user's architecture: how a command names it, and what was read."""

    address: str
    file: str
    content: bytes

    @property
    def sha256(self) -> str:
        """The hash of the content."""
        import hashlib

        return hashlib.sha256(self.content).hexdigest()


_CODES: dict[str, Code] = {}  # by the architectures' names


def code_of(name: str) -> Code | None:
    """The file of a user's architecture, None for the papers'."""
    return _CODES.get(name)


def address_of(name: str) -> str:
    """What `--arch` takes for an architecture: its name, or the user's file or module."""
    return _CODES[name].address if name in _CODES else name


def load(text: str) -> str:
    """The name of the architecture that `--arch` names: a name, a file such as `./fnet.py`, or a module such as `a.b`.

    Raises:
        MissingError: there is no such file.
        ConfigurationError: there is no such architecture, or the code is not one; names the file and the line.
    """
    if text.endswith(SUFFIX) or "/" in text:
        return _load_file(text)
    if _MODULE.fullmatch(text):
        return _load_module(text)
    if text not in ARCHITECTURES and not load_installed(text):
        raise unknown(text)
    return text


def unknown(name: str) -> ConfigurationError:
    """The error for a name that no architecture has."""
    names = sorted(ARCHITECTURES)
    return ConfigurationError(
        f"no architecture {name!r}; there are {', '.join(names)}, or give a file such as ./{name or 'mine'}.py"
        f"{nearest(name, names)}"
    )


def load_installed(name: str) -> bool:
    """Loads the architecture that an installed package declares under a name; whether there is one.

    Raises:
        ConfigurationError: its code is not an architecture of that name.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        module = _guarded(entry.value, functools.partial(importlib.import_module, entry.module))
        attribute = entry.attr or "architecture"
        loaded = _declare(getattr(module, attribute, None), name, _file_of(module), attribute)
        if loaded != name:
            raise ConfigurationError(f"{entry.value}: installed as {name!r}, and calls itself {loaded!r}")
        return True
    return False


def built(architecture: Architecture, shape: Shape) -> ModelSpec:
    """What an architecture makes of a shape.

    Raises:
        ConfigurationError: it has no model of that shape, or its code fails; names the file and the line.
    """
    code = _CODES.get(architecture.name)
    if code is None:
        return architecture.build(shape)

    def build() -> ModelSpec:
        spec = architecture.build(shape)
        expected = EncoderDecoder if architecture.reads == "text" else EncoderOnly
        if not isinstance(spec, expected):
            raise ConfigurationError(f"build gives {type(spec).__name__}, not {expected.__name__}")
        if spec.architecture != architecture.name:
            raise ConfigurationError(f"build gives a model of {spec.architecture!r}, not of {architecture.name!r}")
        spec.weights()
        return spec

    return _guarded(code.file, build)


def warned(architecture: Architecture, shape: Shape) -> list[str]:
    """What an architecture warns about in a shape that has every knob.

    Raises:
        ConfigurationError: its code fails; names the file and the line.
    """
    code = _CODES.get(architecture.name)
    return _guarded(code.file if code else "", lambda: [str(text) for text in architecture.warnings(shape)])


def _load_file(path: str) -> str:
    import hashlib

    content = read_bytes(path, _LARGEST)
    file = os.path.abspath(path)
    for name, code in _CODES.items():
        if code.file == file and code.content == content:
            return name
    module = types.ModuleType(f"scalecli_architecture_{hashlib.sha256(file.encode()).hexdigest()[:12]}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look their module up
    _guarded(path, lambda: exec(compile(content, file, "exec"), vars(module)))
    return _declare(getattr(module, "architecture", None), path, file)


def _load_module(text: str) -> str:
    known = next((name for name, code in _CODES.items() if code.address == text), None)
    if known is not None:
        return known
    module = _guarded(text, lambda: importlib.import_module(text))
    return _declare(getattr(module, "architecture", None), text, _file_of(module))


def _file_of(module: types.ModuleType) -> str:
    return os.path.abspath(module.__file__ or module.__name__)


def _guarded(source: str, run: Callable[[], T]) -> T:
    """Runs code of a user.

    Raises:
        ConfigurationError: it failed; names the line of its file, and says what went wrong.
    """
    try:
        return run()
    except SyntaxError as error:
        where = f"{error.filename or source}: line {error.lineno}"
        raise ConfigurationError(f"{where}: not Python: {error.msg}") from None
    except ScalecliError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
        where = f"{own[-1].filename}: line {own[-1].lineno}" if own else source
        raise ConfigurationError(f"{where}: {type(error).__name__}: {reason_of(error)}") from error


def _is_own(file: str) -> bool:
    """Whether a file is neither scalecli's nor the interpreter's."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return not file.startswith((ours, os.path.dirname(os.__file__), "<"))


def _declare(architecture: Any, address: str, file: str, attribute: str = "architecture") -> str:
    """Adds a user's architecture to the list; returns its name.

    Raises:
        ConfigurationError: there is none, or its name, a knob, a flag or letters are taken or not accepted.
    """
    if not isinstance(architecture, Architecture):
        raise ConfigurationError(
            f"{address}: it has no {attribute}; such a file ends in "
            "architecture = Architecture(name=..., build=...), from scalecli.api"
        )
    _guarded(address, lambda: _check(architecture))
    code = Code(address, file, read_bytes(file, _LARGEST))
    register(architecture)
    _CODES[architecture.name] = code
    return architecture.name


def _check(architecture: Architecture) -> None:
    name = architecture.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(f"name is {name!r}; lower-case letters, digits and underscores are accepted")
    if name in ARCHITECTURES:
        owner = _CODES[name].address if name in _CODES else "one of the papers' architectures"
        raise ConfigurationError(f"the name {name!r} is taken by {owner}")
    sizes, blocks, knobs = architecture.sizes, architecture.layers_per_block, architecture.knobs
    have_shapes = isinstance(sizes, Mapping) and sizes and all(isinstance(fields, Mapping) for fields in sizes.values())
    for field, is_accepted, accepted in (
        ("build", callable(architecture.build), "a function from a Shape to a model"),
        ("knobs", all(isinstance(knob, Knob) for knob in knobs), "a tuple of Knobs"),
        ("sizes", sizes is None or isinstance(sizes, Path) or have_shapes, "a Path, shapes by name, or None for T5's"),
        ("reads", architecture.reads in ("text", "images"), "text or images"),
        ("warnings", callable(architecture.warnings), "a function from a Shape to sentences"),
        ("layers_per_block", type(blocks) is int and blocks > 0, "a whole number from 1"),
    ):
        if not is_accepted:
            raise ConfigurationError(f"{field} is {getattr(architecture, field)!r}; {accepted} is accepted")
    taken = {form: code for code in operators() for form in operator_forms(code)}
    flags = {operator.option for operator in operators().values()}
    for number, knob in enumerate(knobs):
        if any(knob.name == other.name for other in knobs[:number]):
            raise ConfigurationError(f"the knob {knob.name} comes twice")
        if (known := KNOBS.get(knob.name)) is not None:
            if _form(knob) != _form(known):
                raise ConfigurationError(
                    f"the knob {knob.name} is another architecture's: it has the letters {known.letters!r}, the flag "
                    f"{known.flag} and the values {_values(known)}; take these, or another name"
                )
        else:
            _check_new(knob, taken, flags)
            flags.add(knob.flag)
            forms = knob.values if isinstance(knob.values, tuple) else (knob.letters,)
            taken |= dict.fromkeys([*forms, knob.letters], knob.letters)
        if knob.default is None and sizes is None:
            raise ConfigurationError(f"the knob {knob.name} has no default, and T5's sizes do not state it")
        if knob.default is not None:
            check_value(f"the default of {knob.name}", knob.default, knob.values)


def _check_new(knob: Knob, taken: dict[str, str], flags: set[str]) -> None:
    if not isinstance(knob.name, str) or not _NAME.fullmatch(knob.name):
        raise ConfigurationError(f"a knob is called {knob.name!r}; lower-case letters and underscores are accepted")
    if knob.name in SHARED_FIELDS or hasattr(Shape, knob.name):
        raise ConfigurationError(f"the knob {knob.name} has the name of something that every shape has")
    if not isinstance(knob.help, str):
        raise ConfigurationError(f"the help of {knob.name} is {knob.help!r}; a sentence is accepted")
    if not _LETTERS.fullmatch(knob.letters):
        raise ConfigurationError(f"the letters of {knob.name} are {knob.letters!r}; lower-case letters are accepted")
    if not _FLAG.fullmatch(knob.flag):
        raise ConfigurationError(f"the flag of {knob.name} is {knob.flag!r}; one such as --my-knob is accepted")
    words = knob.values if isinstance(knob.values, tuple) else None
    if knob.values not in (int, bool) and not (words and all(isinstance(word, str) for word in words)):
        raise ConfigurationError(f"the values of {knob.name} are {knob.values!r}; int, bool or words are accepted")
    if knob.letters in operators():
        raise ConfigurationError(f"the letters {knob.letters!r} of the knob {knob.name} are taken")
    for form in words or (knob.letters,):
        if form in taken or f"{form}N" in taken:
            raise ConfigurationError(f"{form!r} of the knob {knob.name} is taken in names of models")
    if knob.flag in flags:
        raise ConfigurationError(f"the flag {knob.flag} of the knob {knob.name} is taken")


def _form(knob: Knob) -> tuple:
    return knob.letters, knob.flag, knob.values


def _values(knob: Knob) -> str:
    return ", ".join(knob.values) if isinstance(knob.values, tuple) else knob.values.__name__
