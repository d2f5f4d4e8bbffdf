"""Vision transformers in Hugging Face's format, against the library itself both ways, and in the original's."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scalecli.architectures import build_image_spec
from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange import formats, vit_npz
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.interchange.hugging_face import vit as vit_hugging_face
from scalecli.interchange.weight_map import Exported
from scalecli.shape import Shape

# Every size another, so that no matrix passes for its transpose.
SIZES = {"d_model": 12, "d_ff": 20, "d_kv": 4, "heads": 3, "vocabulary": 0, "image_size": 15, "patch_size": 5}
SHAPE = Shape(2, **SIZES, classes=7)
NUMERICS = {None: ("gelu_pytorch_tanh", 1e-6), "transformers": ("gelu", 1e-12)}
numerics = pytest.mark.parametrize("numerics", NUMERICS)


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers")
    return pytest.importorskip("torch")


def shape_of(numerics=None, **fields):
    return Shape.from_dict({**SHAPE.to_dict(), "numerics": numerics, **fields}, "the test")


def exported(shape=SHAPE, precision="float32", dropout=0.1):
    """A model to be written, with random weights at which every part matters."""
    spec = build_image_spec("vit", shape)
    random = np.random.default_rng(0)
    weights = {}
    for path, (copies, weight) in spec.weights().items():
        drawn = 0.4 * random.normal(size=((copies,) if copies else ()) + weight.shape)
        weights[path] = (float(path.endswith("norm/scale")) + drawn).astype("float32")
    return Exported(shape, spec, weights, dropout, precision, vocabulary=None)


def images_of(rows=3):
    return np.random.default_rng(1).uniform(-1, 1, (rows, 15, 15, 3)).astype("float32")


def ours(spec, weights):
    """This project's logits of the images."""
    from scalecli.models.vision import VisionTransformer
    from scalecli.training.checkpoints import assign

    model = VisionTransformer(spec)
    assign(model.weights_by_path(), weights, "the test")
    return np.asarray(model({"images": images_of()}))


def theirs(model, torch):
    """The library's logits of the images."""
    with torch.no_grad():
        return model(torch.tensor(images_of().transpose(0, 3, 1, 2))).logits.numpy()


def library_model(torch, numerics):
    """A model of the library's own, its weights all random."""
    from transformers import ViTConfig, ViTForImageClassification

    activation, epsilon = NUMERICS[numerics]
    config = ViTConfig(
        **{name: getattr(SHAPE, ours) for ours, name in vit_hugging_face._SIZES.items()},
        **{"num_labels": 7, "hidden_act": activation, "layer_norm_eps": epsilon},
    )
    torch.manual_seed(0)
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = name.endswith("weight") and "norm" in name
            parameter.copy_(scale + 0.4 * torch.randn_like(parameter))
    return model


def read(folder):
    return formats.read(folder, step=None, optimizer=False)


def written(folder, model, module=vit_hugging_face):
    folder.mkdir()
    module.write(folder, model)
    return folder


@numerics
def test_the_librarys_folder_gives_its_logits(tmp_path, torch, numerics):
    model = library_model(torch, numerics)
    model.save_pretrained(tmp_path)
    imported = read(tmp_path)
    assert (imported.format, imported.architecture, imported.precision) == ("hugging-face", "vit", "float32")
    assert imported.shape == shape_of(numerics) and imported.vocabulary is None
    assert {file.name for file in imported.files} == {"config.json", "model.safetensors"}
    expected = theirs(model, torch)
    assert expected.std() > 0.3
    spec = build_image_spec("vit", imported.shape)
    np.testing.assert_allclose(ours(spec, imported.weights), expected, rtol=0, atol=1e-4)
    # The other numerics would be noticed.
    other = build_image_spec("vit", shape_of("transformers" if numerics is None else None))
    assert np.abs(ours(other, imported.weights) - expected).max() > 1e-4


@numerics
def test_the_library_loads_what_is_written(tmp_path, torch, numerics):
    from transformers import ViTForImageClassification, ViTImageProcessor

    model = exported(shape_of(numerics))
    folder = written(tmp_path / "out", model)
    loaded, info = ViTForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert loaded.config.num_labels == 7 and loaded.config.hidden_dropout_prob == 0.1
    np.testing.assert_allclose(ours(model.spec, model.weights), theirs(loaded.eval(), torch), rtol=0, atol=1e-4)
    # What its processor makes of pixels is what the model reads.
    pixels = np.random.default_rng(2).integers(0, 256, (15, 15, 3), dtype="uint8")
    prepared = ViTImageProcessor.from_pretrained(folder)(pixels, return_tensors="np").pixel_values[0]
    np.testing.assert_allclose(prepared.transpose(1, 2, 0), pixels / 127.5 - 1, atol=1e-5)


@numerics
def test_what_was_read_is_written_bit_for_bit(tmp_path, torch, numerics):
    library_model(torch, numerics).save_pretrained(tmp_path / "first")
    imported = read(tmp_path / "first")
    model = Exported(imported.shape, build_image_spec("vit", imported.shape), imported.weights, None, "float32", None)
    first, second = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "first", written(tmp_path / "out", model))
    )
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    again = read(tmp_path / "out")
    assert again.shape == imported.shape
    assert all(again.weights[path].tobytes() == imported.weights[path].tobytes() for path in imported.weights)


def test_bfloat16_comes_back_as_it_was_written(tmp_path):
    import ml_dtypes

    model = exported(precision="bfloat16")
    imported = read(written(tmp_path / "out", model))
    assert imported.precision == "bfloat16"
    for path, array in model.weights.items():
        np.testing.assert_array_equal(imported.weights[path], array.astype(ml_dtypes.bfloat16).astype("float32"))


def original_arrays(library, layers=2):
    """The arrays that the original's file has, made of the library's by hand."""
    state = {name: parameter.detach().numpy() for name, parameter in library.state_dict().items()}
    find = {name.removeprefix("vit."): array for name, array in state.items()}

    def take(*names):
        """By either of the two names that versions of the library have."""
        return next(find[name] for name in names if name in find)

    arrays = {
        "cls": take("embeddings.cls_token"),
        "embedding/kernel": take("embeddings.patch_embeddings.projection.weight").transpose(2, 3, 1, 0),
        "embedding/bias": take("embeddings.patch_embeddings.projection.bias"),
        "Transformer/posembed_input/pos_embedding": take("embeddings.position_embeddings"),
        "Transformer/encoder_norm/scale": take("layernorm.weight"),
        "Transformer/encoder_norm/bias": take("layernorm.bias"),
        "head/kernel": take("classifier.weight").T,
        "head/bias": take("classifier.bias"),
    }
    for layer in range(layers):
        there, old, new = f"Transformer/encoderblock_{layer}/", f"encoder.layer.{layer}.", f"layers.{layer}."
        attention = f"{there}MultiHeadDotProductAttention_1/"
        for name in ("query", "key", "value"):
            names = [
                (f"{old}attention.attention.{name}.{kind}", f"{new}attention.{name[0]}_proj.{kind}")
                for kind in ("weight", "bias")
            ]
            arrays[f"{attention}{name}/kernel"] = take(*names[0]).T.reshape(12, 3, 4)
            arrays[f"{attention}{name}/bias"] = take(*names[1]).reshape(3, 4)
        output = f"{old}attention.output.dense", f"{new}attention.o_proj"
        arrays[f"{attention}out/kernel"] = take(*(f"{name}.weight" for name in output)).T.reshape(3, 4, 12)
        arrays[f"{attention}out/bias"] = take(*(f"{name}.bias" for name in output))
        dense = {"Dense_0": ("intermediate.dense", "mlp.fc1"), "Dense_1": ("output.dense", "mlp.fc2")}
        for name, (first, second) in dense.items():
            arrays[f"{there}MlpBlock_3/{name}/kernel"] = take(f"{old}{first}.weight", f"{new}{second}.weight").T
            arrays[f"{there}MlpBlock_3/{name}/bias"] = take(f"{old}{first}.bias", f"{new}{second}.bias")
        for name, norm in {"LayerNorm_0": "layernorm_before", "LayerNorm_2": "layernorm_after"}.items():
            arrays[f"{there}{name}/scale"] = take(f"{old}{norm}.weight", f"{new}{norm}.weight")
            arrays[f"{there}{name}/bias"] = take(f"{old}{norm}.bias", f"{new}{norm}.bias")
    return arrays


@pytest.mark.parametrize("compressed", [False, True])
def test_the_originals_file_gives_the_logits_of_the_same_weights(tmp_path, torch, compressed):
    library = library_model(torch, None)
    arrays = original_arrays(library)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "ViT-S_5.npz", **arrays)
    imported = read(tmp_path / "ViT-S_5.npz")
    assert (imported.format, imported.architecture, imported.shape) == ("vit-npz", "vit", SHAPE)
    np.testing.assert_allclose(
        ours(build_image_spec("vit", imported.shape), imported.weights), theirs(library, torch), rtol=0, atol=1e-4
    )
    of_folder = read(tmp_path)  # that has just one of them
    assert of_folder.weights.keys() == imported.weights.keys() and of_folder.files == imported.files
    spec = build_image_spec("vit", imported.shape)
    model = Exported(imported.shape, spec, imported.weights, None, "float32", None)
    out = np.load(written(tmp_path / "out", model, vit_npz) / "model.npz")
    assert set(out.files) == set(arrays)
    for name, array in arrays.items():
        assert out[name].shape == array.shape and out[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


def test_the_original_holds_heads_of_any_width(tmp_path):
    shape = shape_of(d_kv=5, d_ff=9, encoder_layers=3)
    model = exported(shape)
    imported = read(written(tmp_path / "out", model, vit_npz))
    assert imported.shape == shape
    assert all(imported.weights[path].tobytes() == array.tobytes() for path, array in model.weights.items())
    with pytest.raises(ConfigurationError, match="divides d_model among its heads; this run's d_model is 12, and it "):
        vit_hugging_face.check("vit", shape)


@pytest.mark.parametrize(
    ("fields", "module", "message"),
    [
        ({"shared_heads": True}, vit_hugging_face, "has a key and a value head for each query head"),
        ({"tied_key_values": True}, vit_npz, "has keys and values of their own"),
        ({"numerics": "transformers"}, vit_npz, "GELU by tanh and an epsilon of 1e-6; this run's numerics are transf"),
    ],
)
def test_shapes_that_a_format_cannot_hold_are_refused(fields, module, message):
    with pytest.raises(ConfigurationError, match=message):
        module.check("vit", shape_of(**fields))
    module.check("vit", shape_of())


CONFIGS = {
    "no biases": ({"qkv_bias": False}, "qkv_bias is False; scalecli's ViT has True"),
    "grey": ({"num_channels": 1}, "num_channels is 1; scalecli's ViT has 3"),
    "quantized": ({"quantization_config": {"bits": 4}}, "has a quantization_config"),
    "another activation": ({"hidden_act": "relu"}, "hidden_act is 'relu' and layer_norm_eps 1e-06; scalecli's ViT has"),
    "mixed numerics": ({"hidden_act": "gelu"}, "'gelu_pytorch_tanh' with 1e-06 or 'gelu' with 1e-12"),
    "heads": ({"num_attention_heads": 5}, "5 attention heads can't divide a hidden_size of 12"),
    "heads as text": ({"num_attention_heads": "3"}, "'3' attention heads can't divide"),
    "no layers": ({"num_hidden_layers": None}, "lacks num_hidden_layers"),
    "many layers": ({"num_hidden_layers": 10**6}, "has fewer weights than its configuration has layers"),
    "one more layer": ({"num_hidden_layers": 3}, "lacks 'vit.encoder.layer.2"),
    "one layer fewer": ({"num_hidden_layers": 1}, "has 'vit.encoder.layer.1"),
    "other patches": ({"patch_size": 3}, r"is \[12, 3, 5, 5\], the model\'s is \[12, 3, 3, 3\]"),
    "uneven patches": ({"patch_size": 4}, "image_size is 15 and patch_size 4; a multiple"),
    "oblong": ({"image_size": [15, 10]}, "image_size is"),
    "text": ({"model_type": "bert"}, "model_type is 'bert'"),
}


@pytest.mark.parametrize(("changes", "message"), CONFIGS.values(), ids=CONFIGS)
def test_configurations_that_are_not_ours_are_refused(tmp_path, changes, message):
    folder = written(tmp_path / "out", exported())
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises((ConfigurationError, MissingError), match=message) as error:
        read(folder)
    assert str(folder) in str(error.value)


def test_a_model_without_a_head_is_refused(tmp_path):
    folder = written(tmp_path / "out", exported())
    arrays = load_file(folder / "model.safetensors")
    del arrays["classifier.weight"]
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(MissingError, match=r"lacks 'classifier\.weight'; a ViTForImageClassification has it"):
        read(folder)


@pytest.mark.parametrize("options", [{"step": 3, "optimizer": False}, {"step": None, "optimizer": True}])
def test_there_are_no_steps_and_no_optimizer(tmp_path, options):
    for module in (vit_hugging_face, vit_npz):
        folder = written(tmp_path / module.__name__, exported(), module)
        with pytest.raises((ConfigurationError, MissingError), match=r"holds one model|holds no state"):
            formats.read(folder, **options)


def broken(tmp_path, change):
    """The original's file with its arrays changed."""
    file = written(tmp_path / "out", exported(), vit_npz) / "model.npz"
    arrays = change(dict(np.load(file)))
    np.savez(file, **arrays)
    return file


BROKEN = {
    "a layer before the head": (
        lambda arrays: arrays | {"pre_logits/kernel": np.zeros((12, 12))},
        "has 'pre_logits/kernel', a layer before the head",
    ),
    "no head": (
        lambda arrays: {name: array for name, array in arrays.items() if name != "head/kernel"},
        "lacks 'head/kernel'",
    ),
    "flat kernel": (lambda arrays: arrays | {"embedding/kernel": np.zeros((75, 12))}, "has 2 axes; 4 are accepted"),
    "another array": (lambda arrays: arrays | {"opt/step": np.zeros(3)}, "has 'opt/step', which this model hasn't"),
    "integers": (lambda arrays: arrays | {"cls": np.zeros((1, 1, 12), int)}, "'cls' is int64; float32, bfloat16"),
    "no places": (
        lambda arrays: arrays | {"Transformer/posembed_input/pos_embedding": np.zeros((1, 0, 12), "float32")},
        "image_size is 0",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_files_that_are_no_vit_of_ours_are_refused(tmp_path, change, message):
    with pytest.raises((ConfigurationError, MissingError), match=message):
        read(broken(tmp_path, change))


def test_files_that_cannot_be_trusted_are_refused(tmp_path):
    file = written(tmp_path / "out", exported(), vit_npz) / "model.npz"
    whole = file.read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(MissingError, match=r"not a \.npz file of arrays, or a damaged one"):
            read(file)
    np.savez_compressed(file, cls=np.zeros((4096, 4096)))
    with pytest.raises(MissingError, match="declares 134,217,856 bytes, more than a file of weights of its size"):
        read(file)
    np.savez(file, cls=np.array([{"code": print}], dtype=object))
    with pytest.raises(MissingError, match="damaged one"):
        read(file)


def test_a_folder_of_several_files_is_none(tmp_path):
    folder = written(tmp_path / "out", exported(), vit_npz)
    shutil.copyfile(folder / "model.npz", folder / "other.npz")
    with pytest.raises(MissingError, match="no checkpoint in a known format"):
        read(folder)
    assert formats.select_files(["a/model.npz", "README.md"], None) == ["a/model.npz"]
    assert hugging_face.select_files(["model.npz"], None) == []


def test_bfloat16_is_not_written_for_the_original(tmp_path):
    with pytest.raises(ConfigurationError, match="--precision bfloat16: the original ViT's files hold float32"):
        vit_npz.write(tmp_path, exported(precision="bfloat16"))
