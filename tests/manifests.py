"""A whole manifest for tests that need one, with whatever fields they change."""

from scalecli.manifest import (
    Best,
    Checkpoints,
    Data,
    Environment,
    Flops,
    Manifest,
    Parameters,
    Strategy,
    Throughput,
    VocabularyEntry,
)


def example_manifest(**changes) -> Manifest:
    fields = {
        "kind": "pretrain",
        "name": "first",
        "status": "completed",
        "created": "2022-07-21T12:00:00+00:00",
        "finished": "2022-07-21T13:00:00+00:00",
        "command_line": "scalecli pretrain tiny --text 'a b.txt'",
        "architecture": "transformer",
        "shape": {"encoder_layers": 4, "d_model": 256, "tied": True, "activation": "relu"},
        "parameters": Parameters(total=15_570_688, embedding=8_224_768, non_embedding=7_345_920),
        "flops": Flops(convention="forward", forward_per_batch=123_456_789_012, training_total=10**18),
        "data": Data(
            name="train.txt",
            kind="text",
            identity="sha256:00ff",
            documents=10,
            tokens=5000,
            inputs_length=128,
            targets_length=28,
            packed=False,
            vocabulary=VocabularyEntry(name="train:8000", file="vocabulary.model", sha256="ab" * 32, pieces=8000),
        ),
        "objective": {"noise_density": 0.15, "mean_span_length": 3.0},
        "optimizer": {"name": "adafactor", "learning_rate": 0.01},
        "schedule": {"name": "inverse_square_root", "warmup": 100},
        "batch": 32,
        "steps": 300,
        "seed": 0,
        "precision": "float32",
        "dropout": 0.0,
        "z_loss": 1e-4,
        "strategy": Strategy(kind="one", replicas=1),
        "checkpoints": Checkpoints(directory="checkpoints", kept=[200, 300]),
        "results": {
            200: {"validation/negative_log_perplexity": -4.5},
            300: {"validation/negative_log_perplexity": -4.25, "validation/unigram_cross_entropy": 6.0},
        },
        "best": Best(step=300, rule="highest validation/negative_log_perplexity"),
        "throughput": Throughput(steps_per_s=2.5, tokens_per_s=12480.0),
        "environment": Environment(python="3.11.7", scalecli="0.1.0", devices=["CPU"]),
    }
    return Manifest(**{**fields, **changes})
