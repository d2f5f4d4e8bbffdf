"""Where images come in: the embedding of their patches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scalecli.specs.base import LayerSpec, Weight, bias, dense

CHANNELS = 3  # red, green, blue
CLASSES = 18_000  # about as many labels as JFT has, on which both papers' vision transformers were pretrained
PADDING_LABEL = -1  # the label of padding rows


@dataclass(frozen=True)
class PatchEmbedding(LayerSpec):
    """Patches of an image, a class token before them, and learned positions (Dosovitskiy et al. 2021, section 3.1).

    Images are `image_size` x `image_size` pixels of three colors, cut into squares of `patch_size` x `patch_size`.
    """

    d_model: int
    image_size: int
    patch_size: int

    @property
    def patches(self) -> int:
        """Patches of an image; the encoder has one position more, for the class token."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def pixels(self) -> int:
        """Numbers in a patch."""
        return CHANNELS * self.patch_size**2

    def weights(self) -> dict[str, Weight]:
        """`kernel` [pixels, d_model] (row, column, color), `bias` and `class_token` [d_model], `positions`.

        The positions are [patches + 1, d_model], that of the class token first. It starts at zero, as in the original.
        """
        return {
            "kernel": dense(self.pixels, self.d_model),
            "bias": bias(self.d_model),
            "class_token": Weight((self.d_model,)),
            "positions": Weight((self.patches + 1, self.d_model), 0.02),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """One product of each patch."""
        return Counter({"embedding projections": self.patches * self.pixels * self.d_model})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The patches, for the kernel's gradient."""
        return Counter({"compute": self.patches * self.pixels})
