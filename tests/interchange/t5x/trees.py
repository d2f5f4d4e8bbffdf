"""Checkpoints as T5X writes them, and what their arrays mean, told by their names in T5X alone."""

import msgpack
import numpy as np
import pytest

from scalecli.interchange.t5x import checkpoint as t5x


def packed_array(array):
    name = array.dtype.name
    return msgpack.ExtType(1, msgpack.packb((array.shape, name, array.tobytes())))


def nested(arrays):
    """A tree from paths."""
    tree = {}
    for path, value in arrays.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return tree


def write(file, arrays, packed=packed_array):
    """A checkpoint of arrays by paths such as `target/token_embedder/embedding`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tree = nested({path: packed(array) for path, array in arrays.items()})
    file.write_bytes(msgpack.packb({"version": 3, "optimizer": tree}))
    return file


def tree_of(model, dtype=np.float32):
    """The arrays of a model, layers apart, by T5X's paths."""
    arrays = {}
    for path, location in t5x.locations(model.spec).items():
        copies, _ = model.spec.weights()[path]
        for layer, name in enumerate(location.names):
            array = model.weights[path][layer] if copies else model.weights[path]
            arrays[f"target/{name}"] = np.ascontiguousarray(array).astype(dtype)
    return arrays


def write_zarr(folder, arrays, driver="file", chunk=None):
    """A checkpoint as T5X has TensorStore write it: each array in a folder of its own."""
    tensorstore = pytest.importorskip("tensorstore")

    def packed(array):
        if array.ndim == 0 or array.shape == (1,):
            return packed_array(array)  # what is not partitioned stays in the tree
        name = next(names)
        chunks = chunk or [min(20, size) for size in array.shape]
        metadata = {"compressor": {"id": "gzip"}, "shape": list(array.shape), "chunks": chunks}
        spec = {"driver": "zarr", "dtype": array.dtype.name, "metadata": metadata}
        store = tensorstore.open(
            {**spec, "kvstore": {"driver": "file", "path": str(folder / name)}}, create=True
        ).result()  # fmt: skip
        store.write(array).result()
        bucket = {"bucket": "t5x-dummy-bucket"} if driver == "gcs" else {}
        return {**spec, "kvstore": {"driver": driver, "path": f"{name}/", **bucket}}

    names = iter([path.replace("/", ".") for path, array in arrays.items() if array.ndim and array.shape != (1,)])
    return write(folder / "checkpoint", arrays, packed)


def bucket(distance, bidirectional, buckets=32, farthest=128):
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets * (distance > 0)
        distance = np.abs(distance)
    else:
        distance = np.maximum(-distance, 0)
    exact = buckets // 2
    far = exact + (np.log(np.maximum(distance, 1) / exact) / np.log(farthest / exact) * (buckets - exact)).astype(int)
    return first + np.where(distance < exact, distance, np.minimum(far, buckets - 1))


def forward(tree, inputs, targets):
    """Logits [batch, targets, vocabulary] of T5 (Raffel et al. 2020) and T5 v1.1, in float64."""
    tree = {path.removeprefix("target/"): array.astype(np.float64) for path, array in tree.items() if "target/" in path}
    embedding = tree["token_embedder/embedding"]
    heads = len(tree["encoder/relpos_bias/rel_embedding"])

    def normed(x, name):
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * tree[f"{name}/scale"]

    def attended(name, x, memory, bias):
        query, key, value = (
            (source @ tree[f"{name}/{part}/kernel"]).reshape(*source.shape[:2], heads, -1)
            for part, source in (("query", x), ("key", memory), ("value", memory))
        )
        scores = np.einsum("bqhd,bkhd->bhqk", query, key) + bias
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("bhqk,bkhd->bqhd", weights, value).reshape(*x.shape[:2], -1) @ tree[f"{name}/out/kernel"]

    def transformed(name, x):
        if f"{name}/wi/kernel" in tree:
            return np.maximum(x @ tree[f"{name}/wi/kernel"], 0) @ tree[f"{name}/wo/kernel"]
        gate, linear = (x @ tree[f"{name}/wi_{number}/kernel"] for number in (0, 1))
        gate = gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        return (gate * linear) @ tree[f"{name}/wo/kernel"]

    def position_bias(side, length):
        distance = np.arange(length)[None, :] - np.arange(length)[:, None]
        return tree[f"{side}/relpos_bias/rel_embedding"][:, bucket(distance, side == "encoder")], distance

    hidden = np.where(inputs == 0, -1e9, 0.0)[:, None, None, :]
    x = embedding[inputs]
    bias, _ = position_bias("encoder", inputs.shape[1])
    for layer in range(sum(path.endswith("pre_attention_layer_norm/scale") for path in tree)):
        name = f"encoder/layers_{layer}"
        normal = normed(x, f"{name}/pre_attention_layer_norm")
        x = x + attended(f"{name}/attention", normal, normal, bias + hidden)
        x = x + transformed(f"{name}/mlp", normed(x, f"{name}/pre_mlp_layer_norm"))
    memory = normed(x, "encoder/encoder_norm")

    x = embedding[np.pad(targets, ((0, 0), (1, 0)))[:, :-1]]
    bias, distance = position_bias("decoder", targets.shape[1])
    bias = bias + np.where(distance > 0, -1e9, 0.0)
    for layer in range(sum(path.endswith("pre_self_attention_layer_norm/scale") for path in tree)):
        name = f"decoder/layers_{layer}"
        normal = normed(x, f"{name}/pre_self_attention_layer_norm")
        x = x + attended(f"{name}/self_attention", normal, normal, bias)
        normal = normed(x, f"{name}/pre_cross_attention_layer_norm")
        x = x + attended(f"{name}/encoder_decoder_attention", normal, memory, hidden)
        x = x + transformed(f"{name}/mlp", normed(x, f"{name}/pre_mlp_layer_norm"))
    x = normed(x, "decoder/decoder_norm")
    if "decoder/logits_dense/kernel" in tree:
        return x @ tree["decoder/logits_dense/kernel"]
    return x @ embedding.T / np.sqrt(embedding.shape[1])
