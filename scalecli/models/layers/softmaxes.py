"""The output head that mixes several softmaxes over the vocabulary. keras.ops only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.blocks.scan import scan
from scalecli.models.layers.base import Weights
from scalecli.models.layers.vocabulary import OutputHead

_NO_SHARE = -1e30  # the logarithm of nothing, finite so that differences of it are


class MixtureOfSoftmaxes(OutputHead):
    """log sum_k prior_k(h) softmax(tanh(h W_k) E^T) over the tied embedding E (Yang et al. 2018, equation 5).

    h is scaled by d_model^-0.5, as in T5 v1's tied head. The logarithm of a mixture of softmaxes is normalized: these
    "logits" are log-probabilities.
    """

    spec: specs.MixtureOfSoftmaxes

    def prepare(self, embedding: Weights) -> Weights:
        """`context` [softmaxes, d_model, d_model], `prior` [softmaxes, d_model], `kernel` [d_model, vocabulary]."""
        return {**self.weights_for_compute(), "kernel": ops.transpose(embedding["table"])}

    def call(self, prepared: Weights, hidden: Any) -> Any:
        """[batch, length, d_model] -> log-probabilities [batch, length, vocabulary] in float32."""
        hidden = hidden * self.spec.d_model**-0.5
        contexts = ops.tanh(ops.einsum("bld,kde->kble", hidden, prepared["context"]))
        priors = ops.cast(ops.einsum("bld,kd->kbl", hidden, prepared["prior"]), "float32")
        return log_mixture(contexts, ops.log_softmax(priors, axis=0), prepared["kernel"])


@ops.custom_gradient
def log_mixture(contexts: Any, log_priors: Any, kernel: Any) -> tuple[Any, Callable[..., tuple[Any, Any, Any]]]:
    """Log sum_k exp(log_priors_k) softmax(contexts_k kernel), float32 [batch, length, vocabulary]; and its gradient.

    `contexts` [softmaxes, batch, length, d_model] and `kernel` [d_model, vocabulary] are of one dtype, `log_priors`
    [softmaxes, batch, length] is float32. One softmax at a time is computed, and computed again in the backward pass:
    no more than a few [batch, length, vocabulary] are ever kept, however many softmaxes there are.
    """
    softmaxes, *positions = log_priors.shape

    def forward(_: Any, mixed: Any, slices: Any, __: Any) -> tuple[Any, Any]:
        context, log_prior = slices
        logits = ops.cast(ops.matmul(context, kernel), "float32")
        log_normalizer = ops.logsumexp(logits, axis=-1)
        return ops.logaddexp(mixed, logits + (log_prior - log_normalizer)[..., None]), log_normalizer

    nothing = ops.full((*positions, kernel.shape[1]), _NO_SHARE, "float32")
    mixed, log_normalizers = scan(forward, nothing, (contexts, log_priors), (), ops.zeros_like(log_priors), softmaxes)

    def gradient(upstream: Any) -> tuple[Any, Any, Any]:
        def backward(_: Any, d_kernel: Any, slices: Any, __: Any) -> tuple[Any, Any]:
            context, log_prior, log_normalizer = slices
            log_softmax = ops.cast(ops.matmul(context, kernel), "float32") - log_normalizer[..., None]
            # What this softmax contributes to each probability, as a share of it.
            share = upstream * ops.exp(log_softmax + log_prior[..., None] - mixed)
            d_prior = ops.sum(share, axis=-1)
            d_logits = ops.cast(share - ops.exp(log_softmax) * d_prior[..., None], kernel.dtype)
            d_context = ops.matmul(d_logits, ops.transpose(kernel))
            d_kernel = d_kernel + ops.cast(ops.einsum("bld,blv->dv", context, d_logits), "float32")
            return d_kernel, (d_context, d_prior)

        start = ops.zeros(kernel.shape, "float32")
        blank = (ops.zeros_like(contexts), ops.zeros_like(log_priors))
        d_kernel, (d_contexts, d_priors) = scan(
            backward, start, (contexts, log_priors, log_normalizers), (), blank, softmaxes
        )
        return d_contexts, d_priors, ops.cast(d_kernel, kernel.dtype)

    return mixed, gradient
