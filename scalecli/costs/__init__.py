"""What a model costs: floating-point operations, bytes, time and energy. Pure Python."""

from scalecli.costs.flops import (
    BATCHES,
    COMPONENTS,
    CONVENTIONS,
    FLOAT32_BYTES,
    ONLY_IN_PAPER,
    REPLICATED,
    TRAINING_PASSES,
    Batch,
    Convention,
    adafactor_bytes,
    adafactor_state_size,
    batch_of,
    factored_axes,
    flops,
    optimizer_bytes,
    weights_bytes,
)
