"""The checks themselves, on a tiny model with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scalecli import costs
from scalecli.runs.checks.programs import loss_gradients, program_flops
from scalecli.specs.vision import CHANNELS

TARGETS = 8
VOCABULARY = 128
_TOLERANCE = 1e-4  # of the largest logit: rounding
_FLOPS_TOLERANCE = 0.02

Batch = dict[str, np.ndarray]


class FailedError(Exception):
    """What is wrong, and what to look at."""


class NotApplicableError(Exception):
    """Why a check does not apply."""


class ModelChecks:
    """The checks of any model."""

    def __init__(self, model: Any, batch: Batch) -> None:
        self.model, self.spec, self.batch = model, model.spec, batch

    def checks(self) -> dict[str, Callable[[], None]]:
        """The checks by what they state."""
        return {
            "the built weights are the spec's": self.weights,
            "FLOPs are those of XLA's program": self.flops,
            "gradients reach every weight": self.gradients,
        }

    def weights(self) -> None:
        """Every variable is listed in the spec, with its shape."""
        listed = {
            path: (layers,) * (layers > 0) + weight.shape for path, (layers, weight) in self.spec.weights().items()
        }
        built = {
            f"{prefix}{name}": owned
            for prefix, part in self.model.parts().items()
            for name, owned in part.owned.items()
        }
        for path in (*listed, *built):
            if path not in built or path not in listed:
                where = "not built" if path in listed else "not in the spec"
                raise FailedError(f"{path} is {where}; look at weights() of the layer's spec")
            if tuple(built[path].shape) != listed[path]:
                raise FailedError(
                    f"{path} is built as {list(built[path].shape)}, and the spec says {list(listed[path])}"
                )
        known = {id(variable) for variable in built.values()}
        for variable in self.model.variables:
            if id(variable) not in known:
                raise FailedError(
                    f"{variable.path} {list(variable.shape)} is a Keras layer's, and its spec doesn't list it; "
                    "list it in weights() and use the one that the layer is handed"
                )

    def flops(self) -> None:
        """The matrix products and convolutions of the compiled forward pass, against the spec's."""
        batch = costs.Batch(len(next(iter(self.batch.values()))), *self.lengths())
        stated = costs.flops(self.spec, batch, "forward")
        counted = program_flops(self.model, self.batch)
        total = sum(stated.values())
        if abs(counted - total) > _FLOPS_TOLERANCE * counted:
            parts = ", ".join(f"{name} {value:,}" for name, value in stated.items())
            raise FailedError(
                f"the spec says {total:,} for a forward pass and the program has {counted:,} "
                f"({100 * (total - counted) / counted:+.1f}%); look at multiply_adds() of the specs ({parts})"
            )

    def lengths(self) -> tuple[int, int]:
        """Of the inputs and the targets."""
        raise NotImplementedError

    def gradients(self) -> None:
        """The loss has a gradient for each layer's weights."""
        for path, gradient in loss_gradients(self.model, self.batch).items():
            layers = self.spec.weights()[path][0]
            reached = np.abs(gradient).reshape(max(layers, 1), -1).max(axis=1) > 0
            if not reached.all():
                where = f" of layer {int(np.argmin(reached))}" if layers else ""
                raise FailedError(f"{path}{where} gets no gradient; look whether the layer uses it")
            if not np.isfinite(gradient).all():
                raise FailedError(f"the gradient of {path} is not finite")


class ImageTrial(ModelChecks):
    """The checks of a model that reads images."""

    def __init__(self, model: Any) -> None:
        size, random = model.spec.embedding.image_size, np.random.default_rng(0)
        images = random.uniform(-1, 1, (2, size, size, CHANNELS)).astype("float32")
        super().__init__(model, {"images": images, "labels": np.array([1, 2], "int32")})

    def lengths(self) -> tuple[int, int]:
        """Patches, and one label."""
        lengths: tuple[int, int] = self.spec.lengths
        return lengths


class TextTrial(ModelChecks):
    """The checks of a model that reads and writes text."""

    def __init__(self, model: Any, inputs: int) -> None:
        self.random = np.random.default_rng(0)
        self.inputs, self.targets = self._tokens(inputs), self._tokens(TARGETS)
        super().__init__(model, {"inputs": np.tile(self.inputs, (2, 1)), "targets": np.tile(self.targets, (2, 1))})

    def _tokens(self, length: int) -> np.ndarray:
        return self.random.integers(2, VOCABULARY, length).astype("int32")

    def checks(self) -> dict[str, Callable[[], None]]:
        """Those of any model, and what a logit may depend on."""
        return {
            **super().checks(),
            "the decoder sees no later target": self.future,
            "padding changes nothing": self.padding,
            "packed examples don't see each other": self.packing,
            "cached decoding gives the logits of teacher forcing": self.decoding,
        }

    def lengths(self) -> tuple[int, int]:
        """Those of the one example."""
        return len(self.inputs), TARGETS

    def logits(self, inputs: list[np.ndarray], targets: list[np.ndarray], **segments: np.ndarray) -> np.ndarray:
        """[rows, targets, vocabulary] of one call."""
        batch = {"inputs": np.stack(inputs), "targets": np.stack(targets), **segments}
        return np.asarray(self.model({name: ids.astype("int32") for name, ids in batch.items()}))

    def others(self, tokens: np.ndarray) -> np.ndarray:
        """Other tokens, none of which is padding."""
        return 2 + (tokens + 15) % (VOCABULARY - 2)

    def future(self) -> None:
        """Row t has other targets from position t on."""
        rows = [np.where(np.arange(TARGETS) < t, self.targets, self.others(self.targets)) for t in range(TARGETS)]
        logits = self.logits([self.inputs] * (TARGETS + 1), [*rows, self.targets])
        for t, row in enumerate(logits[:-1]):
            if differs(row[: t + 1], logits[-1][: t + 1]):
                position = int(np.argmax(np.abs(row - logits[-1]).max(axis=-1) > 0))
                raise FailedError(
                    f"the logits of target {position} change with the target at {t}, which is not read before "
                    f"{t + 1}; look at what the decoder's layers make of later positions"
                )

    def padding(self) -> None:
        """Twice the length."""
        (plain,) = self.logits([self.inputs], [self.targets])
        for side, name in (("inputs", "encoder"), ("targets", "decoder")):
            tokens = {"inputs": self.inputs, "targets": self.targets}
            longer = {**tokens, side: np.pad(tokens[side], (0, len(tokens[side])))}
            (row,) = self.logits([longer["inputs"]], [longer["targets"]])
            if differs(row[:TARGETS], plain):
                raise FailedError(
                    f"the logits change with the padding behind the {side}; look whether the {name}'s layers leave out "
                    "where context.real is 0"
                )

    def packing(self) -> None:
        """Two examples in a row: the tokens of one are changed, and the other's logits must stay."""
        reason = self.spec.why_not_packed()
        if reason is not None:
            raise NotApplicableError(f"packing is refused: {reason}")
        tokens = {"inputs": self.inputs, "targets": self.targets}
        segments = {side: 1 + (np.arange(len(ids)) >= len(ids) // 2) for side, ids in tokens.items()}
        rows = {  # as they are, and with other tokens of one example
            side: [ids, *(np.where(segments[side] == example, self.others(ids), ids) for example in (1, 2))]
            for side, ids in tokens.items()
        }
        tiled = {f"{side}_segments": np.tile(ids, (3, 1)) for side, ids in segments.items()}
        logits = self.logits(rows["inputs"], rows["targets"], **tiled)
        for example in (1, 2):
            own = segments["targets"] != example
            if differs(logits[example][own], logits[0][own]):
                raise FailedError(
                    f"packed example {3 - example} changes with the tokens of example {example}; mask what lies "
                    "beyond its segment, or say in packing_refused of the layer's spec why that can't be"
                )

    def decoding(self) -> None:
        """Token by token with caches, against all at once."""
        from keras import ops

        (whole,) = self.logits([self.inputs], [self.targets])
        memory, state = self.model.start_decoding(ops.convert_to_tensor(self.inputs[None]), TARGETS)
        for position, token in enumerate([0, *self.targets[:-1]]):
            tokens = ops.convert_to_tensor(np.array([token], "int32"))
            logits, state = self.model.decode_token(memory, state, tokens, ops.convert_to_tensor(position, "int32"))
            if differs(np.asarray(logits)[0], whole[position]):
                raise FailedError(
                    f"decoded token by token, the logits of target {position} are others than in training; look at "
                    "initial_state, constants and step of the decoder's layers"
                )


def differs(logits: np.ndarray, expected: np.ndarray) -> bool:
    """Whether logits differ by more than rounding."""
    return not np.abs(logits - expected).max() <= _TOLERANCE * np.abs(expected).max()
