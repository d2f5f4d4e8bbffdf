"""The embedding of an image's patches. keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.layers.base import SpecLayer, Weights


class PatchEmbedding(SpecLayer):
    """A linear projection of each patch, the class token before them, and learned positions (ViT, equation 1)."""

    spec: specs.PatchEmbedding

    def call(self, weights: Weights, images: Any) -> Any:
        """[batch, image_size, image_size, 3] -> [batch, patches + 1, d_model], patches row by row."""
        batch, size = images.shape[0], self.spec.patch_size
        side = self.spec.image_size // size
        squares = ops.reshape(ops.cast(images, self.compute_dtype), (batch, side, size, side, size, -1))
        patches = ops.reshape(ops.transpose(squares, (0, 1, 3, 2, 4, 5)), (batch, side * side, self.spec.pixels))
        embedded = ops.matmul(patches, weights["kernel"]) + weights["bias"]
        class_token = ops.broadcast_to(weights["class_token"], (batch, 1, self.spec.d_model))
        return ops.concatenate([class_token, embedded], axis=1) + weights["positions"]
