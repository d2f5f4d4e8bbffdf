"""The vision transformer that an `EncoderOnly` spec describes, in Keras 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.blocks.stack import Reports, Stack
from scalecli.models.dropout import Dropout
from scalecli.models.layers import Context, SpecLayer
from scalecli.models.layers.vision import PatchEmbedding
from scalecli.models.layers.vocabulary import Logits
from scalecli.models.losses import chunked_cross_entropy
from scalecli.models.spec_model import SpecModel
from scalecli.models.trainable import Losses
from scalecli.specs.vision import PADDING_LABEL


class VisionTransformer(SpecModel):
    """Logits of an image's classes.

    A batch is a mapping: `images` [batch, image_size, image_size, 3] float32 from -1 to 1, as the original's, and
    `labels` [batch] int32, -1 for padding rows. With `rematerialise` the backward pass computes each scanned block's
    activations again.
    """

    spec: specs.EncoderOnly

    def __init__(
        self,
        spec: specs.EncoderOnly,
        precision: str = "float32",
        dropout_rate: float = 0.0,
        rematerialise: bool = False,
    ) -> None:
        super().__init__(spec, "vision_transformer", precision, dropout_rate)
        policy = self.dtype_policy
        self.embedding = PatchEmbedding(spec.embedding, name="embedding", dtype=policy)
        self.encoder = Stack(spec.encoder, rematerialise=rematerialise, name="encoder", dtype=policy)
        self.output_head = Logits(spec.logits, name="logits", dtype=policy)
        self.built = True

    def call(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Any:
        """Logits [batch, classes] in float32. A seed (int32 scalar) says that this is training, with dropout."""
        encoded, _ = self._encoded(batch["images"], dropout_seed)
        return self.output_head(self.output_head.prepare({}), encoded)[:, 0]

    def features(self, images: Any) -> Any:
        """[batch, image_size, image_size, 3] -> [batch, d_model] float32: what the head sees, without dropout."""
        return ops.cast(self._encoded(images, None)[0][:, 0], "float32")

    def losses(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Losses:
        """The losses [batch], in training (with a seed) or not."""
        encoded, reports = self._encoded(batch["images"], dropout_seed)
        head = self.output_head
        labels, classes = batch["labels"][:, None], self.spec.logits.classes
        losses, log_normalizers = chunked_cross_entropy(head, head.prepare({}), encoded, labels, classes)
        return Losses(losses[:, 0], log_normalizers[:, 0], ops.zeros(()), reports)

    def target_mask(self, batch: Mapping[str, Any]) -> Any:
        """float32 [batch]: 1 for an image, 0 for a padding row."""
        return ops.cast(batch["labels"] != PADDING_LABEL, "float32")

    def parts(self) -> dict[str, SpecLayer]:
        """Every layer that owns weights, by the prefix of its paths in `ModelSpec.weights()`."""
        encoder = {f"encoder/{prefix}": layer for prefix, layer in self.encoder.parts().items()}
        return {"embedding/": self.embedding, **encoder, "logits/": self.output_head}

    def _encoded(self, images: Any, dropout_seed: Any) -> tuple[Any, Reports]:
        """What the encoder makes of the class token [batch, 1, d_model], and its reports."""
        embedded = self.embedding(self.embedding.weights_for_compute(), images)
        # Every patch sees every other.
        context = Context(self_mask=ops.zeros((1, 1, 1, 1)), segments=ops.zeros(embedded.shape[:2], "int32"))
        encoded, reports = self.encoder.run(embedded, context, Dropout(self.dropout_rate, dropout_seed))
        return encoded[:, :1], {f"encoder/{name}": value for name, value in reports.items()}
