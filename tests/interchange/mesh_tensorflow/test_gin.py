import pytest

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.mesh_tensorflow.gin import Gin, Reference

TEXT = """from __gin__ import dynamic_registration
import mesh_tensorflow.transformer.transformer_layers as layers
include 'models/defaults.gin'

# Macros:
num_layers = 6  # of each stack
encoder/num_layers = 8
depth = %num_layers
d_model = 512

encoder/make_layer_stack.layers = \\
    [@mesh_tensorflow.transformer.transformer_layers.SelfAttention,
     @layers.DenseReluDense()]  # in order
encoder/make_layer_stack.num_layers = %depth
make_layer_stack.num_layers = 2
decoder/mesh.transformer_layers.SelfAttention.num_heads = 4
run.text = 'a # is no comment, @nor %this = "x"'
run.both = ('in two '
            'parts')
run.values = {'a': (1, -2.5e-3), 'b': [True, None, %d_model]}
run.name = ''
"""


def read(tmp_path, text):
    path = tmp_path / "operative_config.gin"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Gin.read(path)


def test_values_macros_and_scopes(tmp_path):
    gin = read(tmp_path, TEXT)
    assert gin.get("make_layer_stack", "num_layers", "encoder") == 6
    assert gin.get("make_layer_stack", "num_layers", "decoder") == gin.get("make_layer_stack", "num_layers") == 2
    assert gin.get("SelfAttention", "num_heads", "decoder") == 4
    assert gin.get("SelfAttention", "num_heads", "encoder") is gin.get("SelfAttention", "num_head") is None
    assert gin.get("make_layer_stack", "layers", "encoder") == [
        Reference("@mesh_tensorflow.transformer.transformer_layers.SelfAttention"),
        Reference("@layers.DenseReluDense()"),
    ]
    assert gin.get("run", "text") == 'a # is no comment, @nor %this = "x"'
    assert gin.get("run", "both") == "in two parts"
    assert gin.get("run", "values") == {"a": (1, -2.5e-3), "b": [True, None, Reference("%d_model")]}
    assert gin.get("run", "name") == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("d_model = __import__('os').system('touch {place}')", 1),
        ("d_model = 512\nd_ff = open('{place}', 'w')", 2),
        ("exec(open('{place}', 'w'))", 1),
        ("import os; open('{place}', 'w')", 1),
        ("x = [y for y in (open('{place}', 'w'),)]", 1),
        ("x = (lambda: open('{place}', 'w'))()", 1),
        ("a = 1\n\nb = [1,\n 2", 3),
        ("d_model 512", 1),
        ("d_model = ", 1),
        ("d_model = 3j", 1),
        ("d_model = 1 + 2", 1),
        ("d_model = " + "[" * 5000 + "]" * 5000, 1),
        ("d_model = f'{{open}}'", 1),
        ("a = b = 3", 1),
    ],
)
def test_what_is_no_data_is_refused_and_not_run(tmp_path, text, line):
    place = tmp_path / "made"
    with pytest.raises(ConfigurationError, match=rf"operative_config\.gin:{line}: neither .* nothing of it is run$"):
        read(tmp_path, text.format(place=place))
    assert not place.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run.a = %b\nb = %a\na = %b", "macros refer to one another without an end"),
        ("run.a = %b", "%b is not defined"),
        (b"a = '\xff'", "not text in UTF-8"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, text).get("run", "a")


def test_a_file_that_is_too_large(tmp_path):
    with pytest.raises(MissingError, match="larger than the 1,048,576 bytes"):
        read(tmp_path, "#" * (1 << 20) + "\n")
