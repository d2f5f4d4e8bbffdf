"""The mixture of experts of the Switch Transformer. keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights

_BALANCE = 0.01  # the weight of the load-balancing loss (Fedus et al. 2021, section 2.2)
# Places of randomness within the layer.
_JITTER, _HIDDEN = 0, 1


class MixtureOfExperts(SpecLayer):
    """Each token goes through one of several feed-forward layers, the experts (Fedus et al. 2021, section 2.1).

    The router's softmax over the experts, in float32, says which: that of the largest probability, whose output is
    scaled by it (equation 2). Its inputs have noise of `jitter` in training (appendix C).

    Tokens compete in groups: those of a batch, row by row, in the fewest equal parts of at most `group` tokens. Of the
    tokens that chose an expert its capacity's first are taken, and the others' output is zero (section 2.2). Padding
    takes nobody's place. So in training and validation a token's output may depend on tokens that stand before it in
    other rows. Decoding leaves no token out. Groups lie within a replica, and their noise is drawn there: on several
    devices training is not number by number that of one.
    """

    spec: specs.MixtureOfExperts

    @property
    def reported(self) -> dict[str, tuple[int, ...]]:
        """`overflow`: the share of tokens that no expert took; `expert_use`: the share that chose each expert."""
        return {"auxiliary_loss": (), "overflow": (), "expert_use": (self.spec.experts,)}

    def weights_for_compute(self) -> Weights:
        """The experts' weights in the compute dtype, the router's in float32."""
        return {**super().weights_for_compute(), "router": ops.convert_to_tensor(self.owned["router"])}

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        return self.run(weights, x, context, dropout)[0]

    def run(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> tuple[Any, Weights]:
        """[batch, length, d_model] -> [batch, length, d_model], and what is `reported`."""
        batch, length, width = x.shape
        group = group_size(batch * length, self.spec.group)
        grouped = ops.reshape(x, (-1, group, width))
        real = ops.reshape(context.real, grouped.shape[:2])
        output, reports = self._mixed(weights, grouped, real, self.spec.capacity(group, dropout.training), dropout)
        return ops.reshape(output, x.shape), reports

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token of each row, x [batch, 1, d_model]: one group, and every expert has room for all of it."""
        group = ops.transpose(x, (1, 0, 2))
        output, _ = self._mixed(weights, group, ops.ones(group.shape[:2]), group.shape[1], Dropout(0.0))
        return ops.reshape(output, x.shape), state

    def _mixed(self, weights: Weights, x: Any, real: Any, capacity: int, dropout: Dropout) -> tuple[Any, Weights]:
        """X [groups, group, d_model] -> the same, and the reports; `real` [groups, group] is 0 at padding."""
        groups, group, width = x.shape
        experts = self.spec.experts
        probabilities = self._probabilities(weights["router"], x, dropout)
        expert = ops.argmax(probabilities, axis=-1)  # [groups, group]
        choice = ops.one_hot(expert, experts, dtype="float32")  # [groups, group, experts]
        claims = choice * real[:, :, None]
        rank = ops.cast(ops.sum((ops.cumsum(claims, axis=1) - claims) * claims, axis=-1), "int32")
        taken = ops.logical_and(real > 0, rank < capacity)

        # Which place of [experts, groups, capacity] each token has, and which token each place; from 1 on, 0 is none.
        places = experts * groups * capacity
        first = (ops.cast(expert, "int32") * groups + ops.arange(groups, dtype="int32")[:, None]) * capacity
        place = ops.reshape(ops.where(taken, first + rank + 1, 0), (-1,))
        numbers = ops.arange(1, groups * group + 1, dtype="int32")
        token = ops.scatter(place[:, None], numbers, (places + 1,))[1:]

        inputs = _moved(ops.reshape(x, (-1, width)), token, place)
        outputs = self._experts(weights, ops.reshape(inputs, (experts, groups * capacity, width)), dropout)
        outputs = _moved(ops.reshape(outputs, (-1, width)), place, token)
        probability = ops.sum(probabilities * choice, axis=-1, keepdims=True)
        mixed = ops.reshape(outputs, x.shape) * ops.cast(probability, x.dtype)

        tokens = ops.maximum(ops.sum(real), 1.0)
        return mixed, {
            "auxiliary_loss": _balance_loss(choice, probabilities),
            "overflow": (ops.sum(real) - ops.sum(ops.cast(taken, "float32"))) / tokens,
            "expert_use": ops.sum(claims, axis=(0, 1)) / tokens,
        }

    def _probabilities(self, router: Any, x: Any, dropout: Dropout) -> Any:
        """[groups, group, d_model] -> [groups, group, experts] in float32."""
        x = ops.cast(x, "float32")
        if dropout.training:
            x = x * (1.0 + self.spec.jitter * (2.0 * dropout.at(_JITTER).noise(x.shape) - 1.0))
        return ops.softmax(ops.matmul(x, router), axis=-1)

    def _experts(self, weights: Weights, x: Any, dropout: Dropout) -> Any:
        """[experts, places, d_model] -> the same: ReLU(x W_input) W_output, with each expert's own matrices."""
        hidden = ops.relu(ops.matmul(x, weights["input"]))[:, :, None]
        # A mask for each place: an expert's places have tokens of many examples, which don't share masks elsewhere.
        hidden = dropout.at(_HIDDEN)(hidden)[:, :, 0]
        return ops.matmul(hidden, weights["output"])


def group_size(tokens: int, most: int) -> int:
    """Tokens of a group when `tokens` are cut into the fewest equal groups of at most `most`."""
    return next(tokens // count for count in range(-(-tokens // most), tokens + 1) if tokens % count == 0)


@ops.custom_gradient
def _moved(rows: Any, source: Any, target: Any) -> Any:
    """Row `source[i]` of `rows` [n, width] as row i, and zeros where that is 0; rows count from 1.

    `target` says where each of `rows` went, so that the gradient is a move of the same kind. The gradient of an
    ordinary gather adds rows up, in no certain order on some devices, and takes XLA minutes to compile on CPUs.
    """

    def picked(rows: Any, numbers: Any) -> Any:
        return ops.take(ops.concatenate([ops.zeros_like(rows[:1]), rows]), numbers, axis=0)

    return picked(rows, source), lambda upstream: (picked(upstream, target), None, None)


def _balance_loss(choice: Any, probabilities: Any) -> Any:
    """0.01 * experts * sum_e f_e p_e, the mean over groups (Fedus et al. 2021, equations 4 to 6).

    f_e is the share of a group's positions that choose expert e, p_e their mean probability of it: both [groups, group,
    experts]. As in the original code, padding counts (it has equal probabilities, and chooses the first expert).
    """
    shares = ops.mean(choice, axis=1) * ops.mean(probabilities, axis=1)
    return _BALANCE * choice.shape[-1] * ops.mean(ops.sum(shares, axis=-1))
