"""What the vision transformers of "Scale Efficiently", Table 5, cost: `shapes/vision/vit.yaml`. Pure Python."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from scalecli import shapes_directory, strict


@dataclass(frozen=True, kw_only=True)
class VitShape:
    """The numbers that fix a vision transformer's size (Dosovitskiy et al. 2021, section 3.1).

    `layers` blocks of `heads` heads as wide as d_model / heads on images of `image` x `image` pixels and three colours,
    cut into squares of `patch` x `patch`; a class token in front, and a linear head of `classes` labels on it.
    """

    layers: int
    d_model: int
    d_ff: int
    heads: int
    image: int = 224
    patch: int = 32
    classes: int = 18_000

    @property
    def patches(self) -> int:
        """Patches of an image; the sequence has one place more, for the class token."""
        return (self.image // self.patch) ** 2

    @property
    def pixels(self) -> int:
        """Numbers in a patch."""
        return 3 * self.patch**2


@functools.cache
def vit_shapes() -> dict[str, VitShape]:
    """The four shapes of Table 5 by their names there."""
    path = shapes_directory() / "vision" / "vit.yaml"
    return {
        name: strict.from_mapping(VitShape, fields, f"{path}: {name}")
        for name, fields in strict.load_yaml(path).items()
    }


def vit_parameters(shape: VitShape) -> int:
    """Trainable parameters: dense layers with biases, layer norms with scale and bias, one embedding for each place."""
    width = shape.d_model
    attention = 4 * (width * width + width)
    feed_forward = width * shape.d_ff + shape.d_ff + shape.d_ff * width + width
    norm = 2 * width
    places = (shape.patches + 1) * width
    class_token = width
    embedding = shape.pixels * width + width + class_token + places
    head = width * shape.classes + shape.classes
    return embedding + shape.layers * (attention + feed_forward + 2 * norm) + norm + head


def vit_multiply_adds(shape: VitShape) -> int:
    """Multiply-adds of the forward pass of one image, matrix products only."""
    width, tokens = shape.d_model, shape.patches + 1
    projections = 4 * tokens * width * width
    scores = 2 * tokens * tokens * width
    feed_forward = 2 * tokens * width * shape.d_ff
    embedding = shape.patches * shape.pixels * width
    return embedding + shape.layers * (projections + scores + feed_forward) + width * shape.classes
