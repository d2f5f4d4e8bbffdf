"""Parameters and FLOPs of shapes, worked out once for all models of a comparison that have the same one."""

from __future__ import annotations

from functools import lru_cache

from scalecli.architectures import build_spec
from scalecli.costs import Batch, Convention, batch_of, flops
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

_KEPT = 4096  # shapes


@lru_cache(maxsize=_KEPT)
def spec_of(architecture: str, shape: Shape) -> ModelSpec:
    """As `build_spec`."""
    return build_spec(architecture, shape)


@lru_cache(maxsize=_KEPT)
def parameters_of(architecture: str, shape: Shape) -> int:
    """The trainable parameters. Raises ConfigurationError as `build_spec` does, as all of these do."""
    return spec_of(architecture, shape).parameters()


@lru_cache(maxsize=_KEPT)
def batch_for(architecture: str, shape: Shape, convention: Convention, sequences: int | None = None) -> Batch:
    """The batch that the convention's FLOPs are of, or one of other `sequences`."""
    given = {} if sequences is None else {"sequences": sequences}
    return batch_of(spec_of(architecture, shape), convention, **given)


@lru_cache(maxsize=_KEPT)
def flops_of(architecture: str, shape: Shape, convention: Convention, batch: Batch | None = None) -> int | None:
    """The FLOPs of a batch, or of the convention's own; None where the model can't have so long inputs."""
    spec = spec_of(architecture, shape)
    try:
        return sum(flops(spec, batch or batch_of(spec, convention), convention).values())
    except ConfigurationError:
        return None
