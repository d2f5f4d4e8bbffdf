"""Small models of every form whose Mesh-TensorFlow names are known."""

from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from scalecli.shape import Shape
from tests import oracle

# Forms of the architectures whose names are known, with sizes that tell matrices from their transposes.
SIZES = {"encoder_layers": 2, "decoder_layers": 3, "d_model": 24, "d_ff": 40, "d_kv": 8, "heads": 4, "vocabulary": 128}
FORMS = {
    **{name: (name, oracle.KNOBS[name]) for name in TEXT_ARCHITECTURES if name not in ("performer", "mixer")},
    "switch": ("switch", {"experts": 3, "encoder_layers": 2, "decoder_layers": 4}),
    "funnel": ("funnel", {"encoder_layers": 5, "funnel_blocks": 2}),
    "shared heads": ("transformer", {"shared_heads": True}),
    "tied keys and values": ("transformer", {"tied_key_values": True}),
    "both": ("transformer", {"shared_heads": True, "tied_key_values": True}),
    "shared stacks": ("transformer", {"shared_stacks": True, "encoder_layers": 3}),
    "untied": ("transformer", {"logits": "untied"}),
    "tied glu": ("glu", {"logits": "tied"}),
    "separate albert": ("albert", {"embedding_size": 16, "shared_stacks": False}),
    **{
        f"{kind} universal": ("universal", {"recurrence": 2, "recurrence_type": kind})
        for kind in ("basic", "highway", "gated")
    },
}


def model(name, **sizes):
    architecture, knobs = FORMS[name]
    shape = Shape(**{**SIZES, **knobs, **sizes})
    return build_spec(architecture, shape), shape


def read(folder, step=None, optimizer=False):
    return mesh_tensorflow.read(folder, step=step, optimizer=optimizer)
