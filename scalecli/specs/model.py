"""The whole model: the tree that everything is derived from."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from scalecli.errors import ConfigurationError
from scalecli.specs.base import LayerSpec, Weight
from scalecli.specs.stack import Pooling, Stack
from scalecli.specs.vision import PatchEmbedding
from scalecli.specs.vocabulary import Embedding, Logits, MixtureOfSoftmaxes


@dataclass(frozen=True)
class ModelSpec(abc.ABC):
    """What models of all kinds have: an embedding, an encoder and perhaps more stacks, and an output head."""

    architecture: str
    encoder: Stack
    embedding: LayerSpec
    logits: Logits | MixtureOfSoftmaxes

    @property
    def lengths(self) -> tuple[int, int] | None:
        """Length of every example's inputs and targets; None where they may have any."""
        return None

    @abc.abstractmethod
    def stacks(self) -> dict[str, Stack]:
        """The stacks that have weights of their own, by the first part of their paths."""

    @abc.abstractmethod
    def passes(self, inputs: int, targets: int) -> Iterator[tuple[Stack, int, int]]:
        """Every stack that one example goes through, with its own length and that of the encoder's output.

        Raises:
            ConfigurationError: the architecture does not take examples of these lengths.
        """

    @abc.abstractmethod
    def ends(self, inputs: int, targets: int) -> tuple[tuple[LayerSpec, int], ...]:
        """The embedding and the output head, with the positions of one example that go through each."""

    def multiply_adds(self, inputs: int, targets: int) -> Counter[str]:
        """Multiply-adds of one example in one forward pass, by component.

        Raises:
            ConfigurationError: the architecture does not take examples of these lengths.
        """
        in_stacks = (stack.multiply_adds(length, memory) for stack, length, memory in self.passes(inputs, targets))
        total = self.embedding.multiply_adds(targets, inputs) + sum(in_stacks, Counter())
        return total + self.logits.multiply_adds(targets, inputs)

    def weights(self) -> dict[str, tuple[int, Weight]]:
        """Every weight by its path: how many layers own one each (stacked on a leading axis), and one layer's weight.

        Paths such as `decoder/0/cross_attention/query`, where 0 counts the stack's repeats. A weight outside the
        repeats has one owner and no leading axis, and is listed with 0.
        """
        return {
            **{f"embedding/{name}": (0, weight) for name, weight in self.embedding.weights().items()},
            **{
                f"{side}/{path}": repeated
                for side, stack in self.stacks().items()
                for path, repeated in stack.weights().items()
            },
            **{f"logits/{name}": (0, weight) for name, weight in self.logits.weights().items()},
        }

    def parameters(self) -> int:
        """Trainable parameters, shared ones counted once."""
        return sum(max(layers, 1) * weight.size for layers, weight in self.weights().values())

    def embedding_parameters(self) -> int:
        """Parameters of the embedding and of the output head."""
        parts = (self.embedding, self.logits)
        return sum(weight.size for part in parts for weight in part.weights().values())

    def why_not_packed(self) -> str | None:
        """Why examples cannot be packed into one row, or None where they can."""
        for stack in self.stacks().values():
            for repeat in stack.repeats:
                for step in repeat.block.sublayers:
                    reason = step.packing_refused if isinstance(step, Pooling) else step.layer.packing_refused
                    if reason is not None:
                        return reason
        return None


@dataclass(frozen=True)
class EncoderDecoder(ModelSpec):
    """Text to text: two stacks, the embedding of both, and the output head.

    With `shared_stacks` the encoder has no weights of its own: it uses the decoder's of the same paths.
    """

    embedding: Embedding
    logits: Logits | MixtureOfSoftmaxes
    decoder: Stack
    shared_stacks: bool = False

    def stacks(self) -> dict[str, Stack]:
        """Encoder and decoder, or the decoder alone where they share."""
        return {"decoder": self.decoder} if self.shared_stacks else {"encoder": self.encoder, "decoder": self.decoder}

    def passes(self, inputs: int, targets: int) -> Iterator[tuple[Stack, int, int]]:
        """The encoder on the inputs, the decoder on the targets."""
        memory = self.memory_length(inputs)
        yield self.encoder, inputs, inputs
        yield self.decoder, targets, memory

    def ends(self, inputs: int, targets: int) -> tuple[tuple[LayerSpec, int], ...]:
        """Both sides are embedded; the targets have logits."""
        return (self.embedding, inputs + targets), (self.logits, targets)

    def memory_length(self, inputs: int) -> int:
        """Positions that the encoder makes of `inputs` tokens.

        Raises:
            ConfigurationError: the architecture does not take inputs of that length.
        """
        self.encoder.multiply_adds(inputs, inputs)  # raises where a layer does not take it
        return self.encoder.output_length(inputs)


@dataclass(frozen=True)
class EncoderOnly(ModelSpec):
    """Image to label: patches and a class token through an encoder, logits of what became of the class token."""

    embedding: PatchEmbedding
    logits: Logits

    @property
    def lengths(self) -> tuple[int, int]:
        """An image's patches, and its one label; together the positions of the encoder."""
        return self.embedding.patches, 1

    def stacks(self) -> dict[str, Stack]:
        """The encoder alone."""
        return {"encoder": self.encoder}

    def passes(self, inputs: int, targets: int) -> Iterator[tuple[Stack, int, int]]:
        """The encoder on all patches and the class token.

        Raises:
            ConfigurationError: these are other lengths than an image's.
        """
        if (inputs, targets) != self.lengths:
            raise ConfigurationError(
                f"{self.architecture} reads images of {self.embedding.patches} patches, each with one label; inputs of "
                f"{inputs} and targets of {targets} can't be"
            )
        yield self.encoder, inputs + targets, inputs + targets

    def ends(self, inputs: int, targets: int) -> tuple[tuple[LayerSpec, int], ...]:
        """The patches are embedded; the class token has logits."""
        return (self.embedding, inputs), (self.logits, targets)
