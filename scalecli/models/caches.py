"""The keys and values of earlier tokens, while decoding."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli.models.compiled import uses_xla


def empty_cache(shape: tuple[int, ...], dtype: str) -> Any:
    """Zeros that nothing else shares."""
    if uses_xla():
        return ops.zeros(shape, dtype)
    import tensorflow as tf

    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=True)


def updated_at(position: Any, cache: Any, new: Any) -> Any:
    """The cache [batch, heads, length, d_kv] with `new` [batch, heads, 1, d_kv] at a position of its length.

    Without XLA the cache itself changes: it must be one of `empty_cache`, and is not to be used again. All else that
    TensorFlow offers copies the whole cache for every token.
    """
    if uses_xla():
        return ops.slice_update(cache, (0, 0, position, 0), new)
    import tensorflow as tf

    batch, heads, length, width = cache.shape
    rows = ops.arange(batch * heads, dtype="int32") * length + position
    flat, new = ops.reshape(cache, (-1, width)), ops.reshape(new, (-1, width))
    return ops.reshape(tf.raw_ops.InplaceUpdate(x=flat, i=rows, v=new), cache.shape)
