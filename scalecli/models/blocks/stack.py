"""A stack of blocks: each run of equal blocks is one block scanned over stacked weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from scalecli import specs
from scalecli.models.blocks.pooling import pooled, pooled_context
from scalecli.models.blocks.recurrence import RECURRENCES, Recurrence
from scalecli.models.blocks.residual import Reports, Residual
from scalecli.models.blocks.scan import Unstacked, scan, scan_with_state, unstack
from scalecli.models.compiled import attends_blockwise, fuses_attention, unrolls, uses_xla
from scalecli.models.dropout import Dropout
from scalecli.models.layers import NORMS, Context, PositionBias, RMSNorm, SpecLayer
from scalecli.models.layers.blockwise_attention import block_size

# Numbers of dropout masks within a stack; the repeats or the passes follow, and within a pass its repeats.
_EMBEDDED, _FINAL, _REPEATS = 0, 1, 2


class Repeat(keras.layers.Layer):
    """A block, scanned over the stacked weights of its copies, or over the same weights where they are shared.

    Rematerialized, training keeps each copy's input alone, and the backward pass runs the copy again for all else.
    """

    def __init__(
        self, spec: specs.Repeat, tied_to: Repeat | None = None, rematerialise: bool = False, **options: Any
    ) -> None:
        super().__init__(autocast=False, **options)
        self.spec = spec
        self.rematerialise = rematerialise
        tied_sublayers = {sublayer.name: sublayer for sublayer in tied_to.sublayers} if tied_to else {}
        with keras.name_scope(self.name):
            self.sublayers: list[Residual] = [
                Residual(sublayer, spec.copies, tied_sublayers.get(sublayer.name), dtype=self.dtype_policy)
                for sublayer in spec.block.residuals()
            ]
        self.built = True

    def weights_for_compute(self) -> list[Any]:
        """Per sublayer, its weights [layers, ...], or without that axis where they are shared."""
        return [sublayer.weights_for_compute() for sublayer in self.sublayers]

    @property
    def reported(self) -> dict[str, tuple[int, ...]]:
        """Name and shape [layers, ...] of each report of `run`."""
        return {
            name: (self.spec.times, *shape) for sublayer in self.sublayers for name, shape in sublayer.reported.items()
        }

    def run(self, x: Any, weights: Any, context: Context, dropout: Dropout) -> tuple[Any, Context, Reports]:
        """[batch, length, d_model] through all copies of the block, with `weights` from `weights_for_compute`.

        Returns the output, the context of what comes behind (poolings change it), and the reports, as
        `SUBLAYER/NAME` [layers, ...].
        """
        if self.spec.block.pools:
            return self._pooled(x, weights, context, dropout)

        def body(index: Any, x: Any, slices: Any, shared: Any) -> tuple[Any, Reports]:
            shared_weights, context = shared
            block_dropout = dropout.at(index)
            reports: Reports = {}
            for number, sublayer in enumerate(self.sublayers):
                own = (shared_weights if self.spec.shared else slices)[number]
                x, report = sublayer.run(own, x, context, block_dropout.at(number))
                reports |= report
            return x, reports

        rematerialise = self.rematerialise and dropout.training
        stacked, shared_weights = ((), weights) if self.spec.shared else (weights, ())
        x, reports = scan(
            body,
            x,
            stacked,
            (shared_weights, context),
            _blank(self.reported),
            self.spec.times,
            rematerialise=rematerialise,
            unrolled=not rematerialise and unrolls(self.spec.times),
        )
        return x, context, reports

    def _pooled(self, x: Any, weights: Any, context: Context, dropout: Dropout) -> tuple[Any, Context, Reports]:
        """As `run`, for a block that changes the length: it can't be scanned, and there is one copy of it."""
        sublayers = iter(enumerate(zip(self.sublayers, weights, strict=True)))
        reports: Reports = {}
        for spec in self.spec.block.sublayers:
            if isinstance(spec, specs.Pooling):
                x, context = pooled(x, context.real, spec.window), pooled_context(context, spec.window)
            else:
                number, (sublayer, stacked) = next(sublayers)
                own = keras.tree.map_structure(lambda weight: weight[0], stacked)
                x, report = sublayer.run(own, x, context, dropout.at(0).at(number))
                reports |= {name: value[None] for name, value in report.items()}
        return x, context, reports

    def start_decoding(self, context: Context) -> Any:
        """What `step` needs at every token: per sublayer, the weights and the layer's constants [layers, ...].

        Where weights are shared, both lack that axis.
        """
        weights, constants = self.weights_for_compute(), []
        for sublayer, own in zip(self.sublayers, weights, strict=True):
            of_layer = functools.partial(sublayer.layer.constants, context=context)
            constants.append(of_layer(own[""]) if self.spec.shared else ops.vectorized_map(of_layer, own[""]))
        return (weights, constants) if self.spec.shared else _for_steps((weights, constants), self.spec.times)

    def initial_state(self, batch: int, length: int) -> Any:
        """Per sublayer, the empty state of all its copies [layers, ...]."""

        def layer() -> Any:
            return [sublayer.layer.initial_state(batch, length, self.compute_dtype) for sublayer in self.sublayers]

        return _copies(layer, self.spec.times)

    def step(self, x: Any, layers: Any, state: Any, context: Context) -> tuple[Any, Any]:
        """One token through all copies; returns output [batch, 1, d_model] and state."""

        def body(index: Any, x: Any, slices: Any, state: Any) -> tuple[Any, Any]:
            weights, constants = layers if self.spec.shared else slices
            new_state = []
            for number, sublayer in enumerate(self.sublayers):
                x, after = sublayer.step(weights[number], x, constants[number], state[number], context)
                new_state.append(after)
            return x, new_state

        times = self.spec.times
        return scan_with_state(body, x, _for_steps((), times) if self.spec.shared else layers, state, times)


class Stack(keras.layers.Layer):
    """An encoder or decoder: repeats of blocks that share position biases, then a norm and dropout.

    With a recurrence the repeats are run several times over, with the same weights. With `tied_to`, the other stack,
    it has no weights of its own. With `rematerialise`, training keeps no more than the input of each scanned block.
    """

    def __init__(
        self, spec: specs.Stack, tied_to: Stack | None = None, rematerialise: bool = False, **options: Any
    ) -> None:
        super().__init__(autocast=False, **options)
        self.spec = spec
        policy = self.dtype_policy
        with keras.name_scope(self.name):  # variables have unique paths then
            self.position_biases: list[PositionBias] = [
                PositionBias(bias, tied_to=tied_to and tied_to.position_biases[number], name=name, dtype=policy)
                for number, (name, bias) in enumerate(spec.named_position_biases())
            ]
            self.repeats: list[Repeat] = [
                Repeat(repeat, tied_to and tied_to.repeats[number], rematerialise, name=str(number), dtype=policy)
                for number, repeat in enumerate(spec.repeats)
            ]
            self.final_norm: RMSNorm = NORMS[type(spec.final_norm)](
                spec.final_norm, tied_to=tied_to and tied_to.final_norm, name="final_norm", dtype=policy
            )
            self.recurrence: Recurrence | None = None
            if spec.recurrence is not None:
                self.recurrence = RECURRENCES[spec.recurrence.type](
                    spec.recurrence, tied_to=tied_to and tied_to.recurrence, name="recurrence", dtype=policy
                )
        self.built = True

    def biases(self, length: int) -> dict[int, Any]:
        """The position biases [1, heads, length, length] by number of heads."""
        return {layer.spec.heads: layer(queries=length, keys=length) for layer in self.position_biases}

    def bias_tiles(self, length: int) -> dict[int, Any]:
        """The position biases in blocks, by number of heads, where attention is fused or blockwise; else none."""
        if fuses_attention(self.compute_dtype):
            from scalecli.models.attention_kernels import BLOCK

            block = BLOCK
        elif attends_blockwise(self.compute_dtype, length):
            block = block_size(length)
        else:
            return {}
        return {layer.spec.heads: layer.tiles(length, length, block) for layer in self.position_biases}

    def parts(self) -> dict[str, SpecLayer]:
        """Every layer that owns weights, by the prefix of its paths in `specs.Stack.weights`."""
        parts: dict[str, SpecLayer] = {f"{layer.name}/": layer for layer in self.position_biases}
        for number, repeat in enumerate(self.repeats):
            for sublayer in repeat.sublayers:
                parts |= {f"{number}/{sublayer.name}/{prefix}": part for prefix, part in sublayer.parts().items()}
        if self.recurrence is not None:
            parts["recurrence/"] = self.recurrence
        return {**parts, "final_norm/": self.final_norm}

    def run(self, x: Any, context: Context, dropout: Dropout) -> tuple[Any, Reports]:
        """[batch, length, d_model] -> [batch, output length, d_model], and the reports by their paths.

        The reports of a layer are [layers, ...], or with a recurrence [passes, layers, ...]; the recurrence's own have
        no such axis.
        """
        x = dropout.at(_EMBEDDED)(x)
        weights = [repeat.weights_for_compute() for repeat in self.repeats]
        if self.recurrence is None:
            x, context, reports = self._through(x, weights, context, dropout)
        else:
            x, reports = self._recurrent(self.recurrence, x, weights, context, dropout)
        return dropout.at(_FINAL)(self._normed(x, context.real)), reports

    def _recurrent(
        self, recurrence: Recurrence, x: Any, weights: Any, context: Context, dropout: Dropout
    ) -> tuple[Any, Reports]:
        """All passes of the recurrence; returns output and reports."""

        def one_pass(index: Any, x: Any) -> tuple[Any, Reports]:
            x, _, reports = self._through(x, weights, context, dropout.at(_REPEATS + index))
            return x, reports

        blank = _blank(
            {
                f"{number}/{name}": (recurrence.spec.passes, *shape)
                for number, repeat in enumerate(self.repeats)
                for name, shape in repeat.reported.items()
            }
        )
        carry, reports = recurrence.run_passes(one_pass, x, blank, self._normed)
        own = recurrence.reports(carry, context.real)
        return recurrence.output(carry), reports | {f"recurrence/{name}": value for name, value in own.items()}

    def _through(self, x: Any, weights: Any, context: Context, dropout: Dropout) -> tuple[Any, Context, Reports]:
        """All repeats once; returns what `Repeat.run` does."""
        reports: Reports = {}
        for number, repeat in enumerate(self.repeats):
            x, context, report = repeat.run(x, weights[number], context, dropout.at(_REPEATS + number))
            reports |= {f"{number}/{name}": value for name, value in report.items()}
        return x, context, reports

    def _normed(self, x: Any, real: Any = None) -> Any:
        """The final norm."""
        return self.final_norm(self.final_norm.weights_for_compute(), x, real)

    def start_decoding(self, context: Context) -> Any:
        """What `step` needs at every token: an entry a repeat, which all passes share, and the recurrence's weights."""
        layers = [repeat.start_decoding(context) for repeat in self.repeats]
        if self.recurrence is None:
            return layers, None
        shared, stacked = self.recurrence.split(self.recurrence.weights_for_compute())
        return layers, (shared, _for_steps(stacked, self.recurrence.spec.passes))

    def initial_state(self, batch: int, length: int) -> Any:
        """The empty state for `length` tokens: an entry a repeat, and with a recurrence those of every pass."""

        def layers() -> Any:
            return [repeat.initial_state(batch, length) for repeat in self.repeats]

        return layers() if self.recurrence is None else _copies(layers, self.recurrence.spec.passes)

    def reorder(self, state: Any, rows: Any) -> Any:
        """The state whose row i of the batch is row `rows[i]` of `state`'s; `rows` [new batch] int32."""
        axis = (1 if self.recurrence is None else 2) if uses_xla() else 0  # behind passes and layers
        return keras.tree.map_structure(lambda leaf: ops.take(leaf, rows, axis=axis), state)

    def step(self, x: Any, memory: Any, state: Any, context: Context) -> tuple[Any, Any]:
        """One token x [batch, 1, d_model] through the stack, with `memory` from `start_decoding`.

        Returns the output [batch, 1, d_model] and the state.
        """
        layers, recurrence_weights = memory

        def one_pass(x: Any, state: Any) -> tuple[Any, Any]:
            new_state = []
            for number, repeat in enumerate(self.repeats):
                x, after = repeat.step(x, layers[number], state[number], context)
                new_state.append(after)
            return x, new_state

        if self.recurrence is None:
            x, state = one_pass(x, state)
        else:
            carry, state = self.recurrence.step_passes(one_pass, recurrence_weights, x, state, self._normed)
            x = self.recurrence.output(carry)
        return self._normed(x), state


def _blank(reported: dict[str, tuple[int, ...]]) -> Reports:
    return {name: ops.zeros(shape) for name, shape in reported.items()}


def _for_steps(stacked: Any, length: int) -> Any:
    """A nest of tensors [length, ...] in the form that decoding scans over."""
    return stacked if uses_xla() else unstack(stacked, length)


def _copies(state: Callable[[], Any], length: int) -> Any:
    """The state of `length` layers or passes that start alike, in the form that decoding scans over."""
    if not uses_xla():
        return Unstacked(tuple(state() for _ in range(length)))
    return keras.tree.map_structure(lambda one: ops.broadcast_to(one[None], (length, *one.shape)), state())
