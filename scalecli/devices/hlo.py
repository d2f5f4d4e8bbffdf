"""What a compiled program does, read from XLA's text of it: the FLOPs of its matrix products, and its collectives.

XLA's own cost analysis counts the body of a loop once, and a model is a loop over its layers; here a body counts as
often as it runs. All figures are those of one device, since a partitioned program is the program of one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_HEAD = re.compile(r"^(ENTRY )?(%[\w.\-]+) .*\{$")
_LINE = re.compile(r"^\s+(?:ROOT )?(%[\w.\-]+) = (.*)$")
_NAME = re.compile(r"%[\w.\-]+")
_SHAPE = re.compile(r"([a-z]\w*)\[([0-9,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|branch_computations|called_computations)=(%[\w.\-]+|\{[^}]*\})")
_BITS = {"pred": 8, "token": 0}  # others have them in their names, such as s32 and f8e4m3
_SAME_VALUE = ("copy", "bitcast", "copy-start", "copy-done", "reshape")


@dataclass(frozen=True)
class Instruction:
    """One line of a computation. `shape`, of its results, and `attributes` are as XLA writes them."""

    shape: str
    kind: str
    operands: tuple[str, ...]
    literal: str
    attributes: str

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Of its only result."""
        match = _SHAPE.search(self.shape)
        return _numbers(match[2]) if match else ()

    @property
    def bytes(self) -> int:
        """Of all its results."""
        return sum(math.prod(_numbers(sizes)) * _bits(dtype) // 8 for dtype, sizes in _SHAPE.findall(self.shape))

    def attribute(self, name: str) -> str:
        """The value of `name=value`, without braces; empty if it has none."""
        match = re.search(rf"\b{name}=(?:\{{([^}}]*)\}}|([^\s,]+))", self.attributes)
        return (match[1] or match[2] or "") if match else ""


@dataclass
class ProgramCosts:
    """What a program does in one run on one device.

    `flops`: two for each multiply-add of its matrix products and convolutions. `collectives` and `collective_bytes`, by
    kind: how many, and the larger of what each takes and gives. `unknown_loops`: loops whose length the text doesn't
    say; they count as run once.
    """

    flops: int = 0
    collectives: Counter[str] = field(default_factory=Counter)
    collective_bytes: Counter[str] = field(default_factory=Counter)
    unknown_loops: int = 0


def work(text: str) -> ProgramCosts:
    """The work of the program that this HLO text is."""
    program, costs = _Program(text), ProgramCosts()
    program.add(costs, program.entry, 1, None)
    return costs


Computation = dict[str, Instruction]


@dataclass(frozen=True)
class _Loop:
    """A loop that is being run: where it stands, and the loop around that."""

    computation: Computation
    instruction: Instruction
    around: _Loop | None


class _Program:
    """The computations of a program by name; `entry` is that which runs first."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, Computation] = {}
        current: Computation = {}
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations[head[2]] = {}
                if head[1]:
                    self.entry = head[2]
            elif match := _LINE.match(line):
                current[match[1]] = _parsed(match[2])

    def add(self, work: ProgramCosts, name: str, times: int, loop: _Loop | None) -> None:
        """Adds what a computation does that runs so many times, within a loop or in none."""
        computation = self.computations[name]
        for instruction in computation.values():
            kind, runs, inner = instruction.kind.removesuffix("-start"), times, loop
            if kind in COLLECTIVES:
                work.collectives[kind] += times
                work.collective_bytes[kind] += times * _moved(instruction, computation)
            elif kind in _PRODUCTS:
                operands = (computation[name] for name in instruction.operands)
                work.flops += 2 * times * _PRODUCTS[kind](instruction, *operands)
            elif kind == "while":
                length = self._length(computation, instruction, loop)
                work.unknown_loops += length is None
                runs, inner = times * (1 if length is None else length), _Loop(computation, instruction, loop)
            for called in _CALLED.findall(instruction.attributes):
                for target in _NAME.findall(called):
                    self.add(work, target, runs, inner)

    def _length(self, computation: Computation, loop: Instruction, around: _Loop | None) -> int | None:
        """How often a loop runs that counts from 0 up to a bound, as all of ours do; None if it is of another kind."""
        condition, last = self._condition(loop)
        if last.kind != "compare" or last.attribute("direction") != "LT":
            return None
        return self._value(condition, last.operands[1], _Loop(computation, loop, around))

    def _condition(self, loop: Instruction) -> tuple[Computation, Instruction]:
        """The condition of a loop, and its result."""
        condition = self.computations[loop.attribute("condition")]
        return condition, next(reversed(condition.values()))

    def _value(self, computation: Computation, name: str, loop: _Loop | None) -> int | None:
        """An integer that the text tells: a constant, what a loop carries along unchanged, or where one has ended."""
        instruction = computation[name]
        if instruction.kind == "constant":
            return int(instruction.literal) if instruction.literal.isdigit() else None
        if instruction.kind in _SAME_VALUE:
            return self._value(computation, instruction.operands[0], loop)
        if instruction.kind != "get-tuple-element":
            return None
        index, source = int(instruction.attribute("index")), computation[instruction.operands[0]]
        if source.kind == "parameter" and loop:
            computation, source, loop = loop.computation, loop.instruction, loop.around
        elif source.kind == "while":
            condition, last = self._condition(source)
            if condition[last.operands[0]].attribute("index") == str(index):
                return self._length(computation, source, loop)
        while source.kind in ("while", *_SAME_VALUE):
            source = computation[source.operands[0]]
        return self._value(computation, source.operands[index], loop) if source.kind == "tuple" else None


def _parsed(text: str) -> Instruction:
    """`SHAPE kind(operands), attributes`."""
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape, rest = text[:end], text[end:].lstrip()
    start = rest.index("(")
    end = _closing(rest, start)
    literal = rest[start + 1 : end - 1]
    return Instruction(shape, rest[:start], tuple(_NAME.findall(literal)), literal, rest[end:])


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` has been closed."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(f"no end: {text[start : start + 80]}")


def _moved(each: Instruction, computation: Computation) -> int:
    """The larger of what a collective takes and gives, in bytes."""
    taken = sum(computation[operand].bytes for operand in each.operands)
    # What has only been started has the operands among its results.
    begun = each.kind.endswith("-start") and not each.kind.startswith("all-reduce")
    return max(taken, each.bytes - taken * begun)


def _dot(each: Instruction, left: Instruction, right: Instruction) -> int:
    """Multiply-adds."""
    contracted = _numbers(each.attribute("lhs_contracting_dims"))
    return math.prod(each.dimensions) * math.prod(left.dimensions[axis] for axis in contracted)


def _convolution(each: Instruction, left: Instruction, right: Instruction) -> int:
    """Multiply-adds, but for those with padding. XLA for TPUs makes convolutions of all products."""
    labels = re.split("_|->", each.attribute("dim_labels"))
    of_left, of_right, of_result = (
        dict(zip(names, operand.dimensions, strict=True))
        for names, operand in zip(labels, (left, right, each), strict=True)
    )
    window = dict(part.split("=") for part in each.attribute("window").split())
    total = of_left["b"] * of_right["i"] * of_result["f"]
    total //= int(each.attribute("batch_group_count") or 1)
    for axis in range(len(labels[0]) - 2):

        def along(name: str, default: str, axis: int = axis) -> str:
            return window[name].split("x")[axis] if name in window else default

        size, stride = int(along("size", "1")), int(along("stride", "1"))
        padding = int(along("pad", "0_0").split("_")[0])
        of_input, of_window = int(along("lhs_dilate", "1")), int(along("rhs_dilate", "1"))
        length = (of_left[str(axis)] - 1) * of_input + 1
        total *= sum(
            0 <= place < length and place % of_input == 0
            for start in range(0, of_result[str(axis)] * stride, stride)
            for place in range(start - padding, start - padding + size * of_window, of_window)
        )
    return total


_PRODUCTS = {"convolution": _convolution, "dot": _dot}


def _bits(dtype: str) -> int:
    match = re.search("[0-9]+", dtype)
    return _BITS[dtype] if dtype in _BITS else int(match[0]) if match else 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
