"""Checkpoints as Mesh-TensorFlow writes them, made on the spot by TensorFlow's own writer."""

import numpy as np

from scalecli.costs import factored_axes
from scalecli.interchange.mesh_tensorflow.names import variable_names

# What gin says of a model besides its sizes, where that is no default.
GIN = """import mesh_tensorflow.transformer.transformer as mesh_tensorflow3

# Macros:
# ==============================================================================
d_ff = {d_ff}
d_kv = {d_kv}
d_model = {d_model}
num_heads = {heads}
num_layers = {decoder_layers}

# Parameters for encoder/make_layer_stack:
# ==============================================================================
encoder/make_layer_stack.layers = \\
    [@mesh_tensorflow.transformer.transformer_layers.SelfAttention,
     @mesh_tensorflow.transformer.transformer_layers.DenseReluDense]
encoder/make_layer_stack.num_layers = {encoder_layers}
decoder/make_layer_stack.num_layers = %num_layers
decoder/DenseReluDense.activation = {activation}
encoder/DenseReluDense.activation = {activation}
decoder/DenseReluDense.hidden_size = %d_ff
encoder/DenseReluDense.hidden_size = %d_ff
decoder/SelfAttention.key_value_size = %d_kv
encoder/SelfAttention.key_value_size = %d_kv
decoder/SelfAttention.num_heads = %num_heads
encoder/SelfAttention.num_heads = %num_heads
decoder/SelfAttention.num_memory_heads = {memory_heads}
encoder/SelfAttention.num_memory_heads = {memory_heads}
decoder/SelfAttention.shared_kv = {shared_kv}
encoder/SelfAttention.shared_kv = {shared_kv}
decoder/SelfAttention.relative_attention_type = {bias}
encoder/SelfAttention.relative_attention_type = {bias}
decoder/Unitransformer.d_model = %d_model
encoder/Unitransformer.d_model = %d_model
decoder/Unitransformer.shared_embedding_and_softmax_weights = {tied}
UTLayerStack.act_max_steps = {recurrence}
UTLayerStack.num_rec_steps = {recurrence}
"""


def gin_of(spec, shape):
    """The configuration of a model."""
    pairs = 2 if spec.architecture == "switch" else 1
    return GIN.format(
        **{name: getattr(shape, name) for name in ("d_ff", "d_kv", "d_model", "heads", "recurrence")},
        encoder_layers=shape.encoder_layers // pairs,
        decoder_layers=shape.decoder_layers // pairs,
        memory_heads=int(shape.shared_heads),
        shared_kv=shape.tied_key_values,
        bias="None" if spec.architecture in ("lconv", "dconv") else "'bias_shared'",
        activation="['gelu', 'linear']" if spec.architecture == "glu" else "'relu'",
        tied=not hasattr(spec.logits, "tied") or spec.logits.tied,
    )


def random_weights(spec, seed=0):
    """Weights by our paths, rounded to bfloat16."""
    import ml_dtypes

    random = np.random.default_rng(seed)
    return {
        path: random.normal(size=(*((copies,) if copies else ()), *weight.shape)).astype(ml_dtypes.bfloat16)
        for path, (copies, weight) in spec.weights().items()
    }


def variables_of(spec, weights):
    """The variables that weights by our paths are made of, each by its name."""
    variables = {}
    for path, layers in variable_names(spec).items():
        copies, _ = spec.weights()[path]
        for layer, parts in enumerate(layers):
            one = weights[path][layer] if copies else weights[path]
            for part, name in enumerate(parts):
                variables[name] = one if len(parts) == 1 else one[part]
                if name.endswith("conv2d/kernel"):
                    variables[name] = variables[name][None]  # of one row
    return variables


def slots_of(variables, seed=1):
    """Random second moments of variables, in the form that the original keeps them in."""
    random = np.random.default_rng(seed)
    slots = {}
    for name, variable in variables.items():
        axes = factored_axes(variable.shape)
        kinds = {"v": None} if axes is None else dict(zip(("vr", "vc"), axes, strict=True))
        for kind, left_out in kinds.items():
            shape = tuple(size for axis, size in enumerate(variable.shape) if axis != left_out)
            slots[f"{name}_slot_{kind}"] = random.uniform(1e-4, 1e-2, shape).astype("float32")
    return slots


def write_checkpoint(folder, variables, step=3, gin=None, state=True):
    """Writes a checkpoint of variables by name, and what lies beside it; returns the folder."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    variables = {**variables, "global_step": np.asarray(step, "int64")}
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"model.ckpt-{step}"),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.constant(value) for value in variables.values()],
    )
    if gin is not None:
        (folder / "operative_config.gin").write_text(gin)
    if state:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
    return folder


def slots_from(spec, state):
    """The slots that our optimizer's state is made of, each by its name."""
    suffixes = {"full": "v", "rows": "vr", "columns": "vc"}
    slots = {}
    for path, layers in variable_names(spec).items():
        for kind, suffix in suffixes.items():
            if f"{path}/{kind}" in state:
                statistic = state[f"{path}/{kind}"]
                for layer, (name,) in enumerate(layers):
                    slots[f"{name}_slot_{suffix}"] = statistic[layer] if spec.weights()[path][0] else statistic
    return slots
