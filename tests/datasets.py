"""TensorFlow datasets made by hand, as the package itself would have prepared them."""

import json

import tensorflow_datasets as tfds


def prepare(data_dir, name, features, shards, split="train", version="1.0.0", file_format="tfrecord"):
    """Writes the rows of each shard as a split of a dataset; returns the paths of its files."""
    folder = data_dir / name / version
    folder.mkdir(parents=True, exist_ok=True)
    features = tfds.features.FeaturesDict(features)
    base = name.split("/")[0]
    template = tfds.core.ShardedFileTemplate(folder, dataset_name=base, split=split, filetype_suffix=file_format)
    paths = [folder / f"{base}-{split}.{file_format}-{n:05d}-of-{len(shards):05d}" for n in range(len(shards))]
    for path, rows in zip(paths, shards, strict=True):
        serialized = [(n, features.serialize_example(features.encode_example(row))) for n, row in enumerate(rows)]
        tfds.core.file_adapters.ADAPTER_FOR_FORMAT[tfds.core.FileFormat(file_format)].write_examples(path, serialized)
    info = tfds.core.SplitInfo(
        name=split, shard_lengths=[len(rows) for rows in shards], num_bytes=0, filename_template=template
    )
    others = []
    if (folder / "dataset_info.json").exists():
        others = [each for key, each in tfds.builder_from_directory(folder).info.splits.items() if key != split]
    splits, check = [*others, info], file_format == "tfrecord"
    tfds.folder_dataset.write_metadata(data_dir=folder, features=features, split_infos=splits, check_data=check)
    if file_format != "tfrecord":
        description = json.loads((folder / "dataset_info.json").read_text())
        (folder / "dataset_info.json").write_text(json.dumps({**description, "fileFormat": file_format}))
    return paths
