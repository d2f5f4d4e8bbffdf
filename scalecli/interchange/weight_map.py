"""The way of our weights into another library's arrays and back, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ConfigurationError, MissingError, nearest
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

DTYPES = ("float32", "bfloat16", "float16")  # float32 holds the numbers of all three exactly


@dataclass(frozen=True)
class Location:
    """Where another library keeps one of our weights.

    `names` has an array's name for each layer, or one where no layers are stacked. `transposed`: it is a matrix whose
    axes stand the other way round there. `shape`: what it is there, when that is more than a matrix or vector; its
    axes in the order of `axes`, and some of them taken together, are ours.
    """

    names: tuple[str, ...]
    transposed: bool = False
    shape: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None

    def their_shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one layer's array there."""
        return self.shape or (ours[::-1] if self.transposed else ours)

    def to_ours(self, array: np.ndarray, ours: tuple[int, ...]) -> np.ndarray:
        """Their array as ours."""
        return array.transpose(self._order(array.ndim)).reshape(ours)

    def to_theirs(self, array: np.ndarray) -> np.ndarray:
        """Our array as theirs."""
        there = self.their_shape(array.shape)
        order = self._order(len(there))
        return array.reshape([there[axis] for axis in order]).transpose(np.argsort(order))

    def _order(self, dimensions: int) -> tuple[int, ...]:
        order = tuple(range(dimensions))
        return self.axes or (order[::-1] if self.transposed else order)


@dataclass(frozen=True)
class Exported:
    """A model to be written: its weights as checkpoints have them, and what goes into the files beside them.

    `dropout` is the rate that it was trained with, None where that isn't known, `precision` the dtype that its weights
    are written in, `vocabulary` None where it reads no text, `classes` the names of the first classes that it tells
    images apart by, as far as they are known.
    """

    shape: Shape
    spec: ModelSpec
    weights: Mapping[str, np.ndarray]
    dropout: float | None
    precision: str
    vocabulary: Vocabulary | None
    classes: tuple[str, ...] = ()


def check_only_weights(folder: Path, step: int | None, optimizer: bool) -> None:
    """Checks that nothing is wanted of a folder beyond one set of weights, which is all that it has.

    Raises:
        ConfigurationError: a step was asked for.
        MissingError: the optimizer's state was.
    """
    if step is not None:
        raise ConfigurationError(f"{folder}: holds one model and no steps; leave out --step {step}")
    if optimizer:
        raise MissingError(f"{folder}: holds no state of an optimizer; leave out --optimizer")


def all_locations(
    spec: ModelSpec, others: Mapping[str, Location], in_layers: Callable[[str, int], Location]
) -> dict[str, Location]:
    """The locations of a spec's weights by path.

    Args:
        spec: The model.
        others: The locations of weights outside the layers, by path.
        in_layers: Returns the location of a weight in the layers from its path and the number of layers.
    """
    return {
        path: others[path] if path in others else in_layers(path, copies)
        for path, (copies, _) in spec.weights().items()
    }


def gather(
    spec: ModelSpec, locations: Mapping[str, Location], arrays: Mapping[str, Any], source: str
) -> dict[str, np.ndarray]:
    """Our weights, float32 and stacked, from another library's arrays, or what NumPy makes arrays of.

    Raises:
        MissingError: an array is not there.
        ConfigurationError: one is of another shape or dtype, or is no weight of this model.
    """
    weights = {}
    for path, (copies, weight) in spec.weights().items():
        location = locations[path]
        whole = np.empty((len(location.names), *weight.shape), np.float32)
        for layer, name in enumerate(location.names):
            if name not in arrays:
                raise MissingError(f"{source}: lacks {name!r}{nearest(name, arrays)}")
            array, wanted = arrays[name], location.their_shape(weight.shape)
            if array.shape != wanted:
                raise ConfigurationError(f"{source}: {name!r} is {list(array.shape)}, the model's is {list(wanted)}")
            if str(array.dtype) not in DTYPES:
                raise ConfigurationError(f"{source}: {name!r} is {array.dtype}; {', '.join(DTYPES)} are accepted")
            whole[layer] = location.to_ours(np.asarray(array), weight.shape)
        weights[path] = whole if copies else whole[0]
    known = {name for location in locations.values() for name in location.names}
    if unknown := sorted(arrays.keys() - known):
        raise ConfigurationError(f"{source}: has {unknown[0]!r}, which this model hasn't")
    return weights


def scatter(model: Exported, locations: Mapping[str, Location]) -> Iterator[tuple[str, np.ndarray]]:
    """Another library's arrays by name, one after the other, from our weights: what `gather` undoes."""
    for path, (copies, _) in model.spec.weights().items():
        location = locations[path]
        for layer, name in enumerate(location.names):
            yield name, location.to_theirs(model.weights[path][layer] if copies else model.weights[path])


def stored_precision(arrays: Mapping[str, Any]) -> str:
    """The dtype of a model's arrays; float32, which holds all of them, where they have several."""
    dtypes = {str(array.dtype) for array in arrays.values()}
    return dtypes.pop() if len(dtypes) == 1 else "float32"
