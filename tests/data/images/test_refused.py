"""Images that are broken, missing or of no class: a line that says so, or a count of what is left out."""

import os

import numpy as np
import pytest
import tensorflow as tf

from scalecli.data.datasets import readable
from scalecli.data.images.checked import BROKEN, NO_FILES, TOO_LARGE
from scalecli.data.images.folders import FolderImages
from scalecli.data.images.source import ImageSource
from scalecli.data.images.tree import EMPTY, OTHER_FILES, ImageTree
from scalecli.data.images.views import Cuts
from scalecli.data.order import WHOLE
from scalecli.errors import ConfigurationError, MissingError
from tests.data.images.pictures import CLASSES, pixels, write_folder
from tests.datasets import prepare


def left_out(images, what):
    """How many files of training and held-out images together are left out for one reason."""
    return sum(each.left_out.get(what, 0) for each in images)


def opened(folder, cache, **options):
    calls = []
    found = ImageSource(str(folder), **options).open(cache, lambda done, total: calls.append((done, total)))
    return found, calls


def test_what_is_no_image_is_left_out_and_counted(tmp_path):
    root = write_folder(tmp_path / "images", range(30))
    good = tf.io.encode_jpeg(np.zeros((40, 40, 3), "uint8")).numpy()
    (root / "ant/cut_short.jpg").write_bytes(good[: len(good) // 2])
    (root / "ant/empty.png").write_bytes(b"")
    (root / "bee/text.JPEG").write_text("no image")
    (root / "bee/link.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "bee/pipe.png")
    (root / "cat/notes.txt").write_text("notes")
    (root / "cat/.hidden.png").write_text("a file manager's")
    (root / "dog").mkdir()
    (root / "README.md").write_text("about these images")
    (training, held_out), calls = opened(root, tmp_path / "cache")
    assert training.images + held_out.images == 30
    assert training.left_out[OTHER_FILES] == 1 and training.left_out[EMPTY] == 1
    assert left_out((training, held_out), BROKEN) == 3
    assert left_out((training, held_out), NO_FILES) == 2
    assert training.classes == CLASSES
    assert len(calls) == 30
    assert training.notes == [f"{root}: gray images, taken for three equal colors ({training.images})"]

    (again, _), calls = opened(root, tmp_path / "cache")
    assert (again.identity, again.paths, again.left_out, calls) == (
        *(training.identity, training.paths, training.left_out),
        [],
    )


def test_a_changed_image_has_another_identity_and_is_looked_at_again(tmp_path):
    root = write_folder(tmp_path / "images", range(30))
    (before, _), _ = opened(root, tmp_path / "cache")
    file = os.fsdecode(before.paths[0])
    with open(file, "wb") as stream:
        stream.write(tf.io.encode_png(pixels(200)).numpy())
    os.utime(file, ns=(0, 0))
    (after, _), calls = opened(root, tmp_path / "cache")
    assert after.identity != before.identity and calls
    write_folder(tmp_path / "moved", range(30))
    with open(file, "wb") as stream:
        stream.write(tf.io.encode_png(pixels(int(file[-9:-4]))).numpy())
    identities = {opened(folder, tmp_path / "cache")[0][0].identity for folder in (root, tmp_path / "moved")}
    assert identities == {before.identity}


def test_what_says_that_it_is_huge_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("scalecli.data.images.checked.MOST_PIXELS", 6 * 6)
    root = write_folder(tmp_path / "images", range(30))
    (root / "ant/00000.png").write_bytes(tf.io.encode_png(np.zeros((6, 7, 3), "uint8")).numpy())
    images, _ = opened(root, tmp_path / "cache")
    assert left_out(images, TOO_LARGE) == 1 and sum(each.images for each in images) == 29


def test_what_cannot_be_read_is_no_broken_image(tmp_path):
    root = write_folder(tmp_path / "images", range(30))
    training, _ = ImageTree.of(str(root)).splits(None, None)
    file = root / "ant/00000.png"
    file.rename(tmp_path / "away.png")
    with pytest.raises(MissingError, match=f"{root}: a file cannot be read"):
        FolderImages.open(training, tmp_path / "cache", lambda done, total: None)
    (tmp_path / "away.png").rename(file)
    assert not FolderImages.open(training, tmp_path / "cache", lambda done, total: None).left_out


def test_transparency_is_told(tmp_path):
    root = write_folder(tmp_path / "images", range(30))
    (root / "ant/00000.png").write_bytes(tf.io.encode_png(np.zeros((5, 5, 4), "uint8")).numpy())
    found, _ = opened(root, tmp_path / "cache")
    assert sum("transparency, laid on white (1)" in note for images in found for note in images.notes) == 1


def test_every_tenth_image_of_each_class_is_held_out(tmp_path):
    root = write_folder(tmp_path / "images", range(72))
    training, held_out = ImageTree.of(str(root)).splits(None, None)
    assert {name: len(files) for name, files in held_out.by_class.items()} == dict.fromkeys(CLASSES, 2)
    for name in CLASSES:
        both = {*training.by_class[name], *held_out.by_class[name]}
        assert len(both) == 24 and len(training.by_class[name]) == 22


@pytest.mark.parametrize("name", ["validation", "val", "test"])
def test_folders_of_splits(tmp_path, name):
    for split, numbers in (("train", range(9)), (name, range(9, 15)), ("other", range(15, 18))):
        write_folder(tmp_path / split, numbers)
    tree = ImageTree.of(str(tmp_path))
    for asked, counts in (((None, None), [9, 6]), (("other", "train"), [3, 9])):
        assert [sum(map(len, each.by_class.values())) for each in tree.splits(*asked)] == counts


def test_a_class_may_be_called_train_and_folders_may_be_links(tmp_path):
    write_folder(tmp_path / "elsewhere", range(30))
    root = tmp_path / "images"
    root.mkdir()
    (root / "train").symlink_to(tmp_path / "elsewhere/ant")
    (root / "bus").symlink_to(tmp_path / "elsewhere/bee")
    (root / "bus/again").symlink_to(root / "bus")  # a circle
    training, _ = ImageTree.of(str(root)).splits(None, None)
    assert training.classes == ("bus", "train")


def test_a_bucket_is_listed_as_a_folder_is():
    import fsspec

    memory = fsspec.filesystem("memory")
    for number in range(20):
        memory.pipe_file(f"/pets/train/{'ab'[number % 2]}/{number}.png", bytes(number + 1))
    memory.pipe_file("/pets/val/a/1.png", b"x")
    tree = ImageTree.of("memory://pets")
    training, held_out = tree.splits(None, None)
    assert {name: len(files) for name, files in training.by_class.items()} == {"a": 10, "b": 10}
    assert (training.name, held_out.by_class) == ("memory://pets/train", {"a": ["val/a/1.png"]})
    assert training.path("train/a/0.png") == b"memory://pets/train/a/0.png"
    assert len({tree.files[file] for file in training.by_class["a"]}) == 10
    with pytest.raises(MissingError, match="memory://birds: no such folder"):
        ImageTree.of("memory://birds")


def build(root, what):
    """A folder in which something is the matter."""
    match what:
        case "empty":
            root.mkdir()
        case "flat":
            root.mkdir()
            (root / "1.png").write_bytes(b"")
        case "few":
            write_folder(root, range(6))
        case "one class":
            write_folder(root, range(0, 30, 3))
        case "all broken":
            for name in CLASSES:
                (root / name).mkdir(parents=True)
                for number in range(20):
                    (root / name / f"{number}.png").write_bytes(b"no")
        case "unknown class":
            write_folder(root / "train", range(30))
            (root / "train/bee").rename(root / "elsewhere")
            write_folder(root / "val", range(9))


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("missing", {}, "{root}/: no such folder"),
        ("empty", {}, "no images; expected a folder for each class, such as {root}/cat/1.png"),
        ("flat", {}, "no images; expected a folder for each class"),
        ("few", {}, "no class has 10 images, of which one is held out; give folders train and validation"),
        ("few", {"split": "train"}, "{root}/train: no images"),
        ("few", {"held_out": "test"}, "{root}/test: no images"),
        ("one class", {}, "one class, 'ant'; two or more"),
        ("all broken", {}, "none of 54 images can be used, such as"),
        ("unknown class", {}, "{root}/val: class 'bee' has no images to train on"),
    ],
)
def test_folders_that_cannot_be_used_are_one_line(tmp_path, what, options, message):
    root = tmp_path / "images"
    build(root, what)
    name = f"{root}{os.sep}" if what == "missing" else str(root)
    with pytest.raises(MissingError) as error:
        opened(name, tmp_path / "cache", **options)
    assert message.format(root=root) in str(error.value) and str(root) in str(error.value)


def test_names_of_datasets_that_are_none(tmp_path):
    with pytest.raises(MissingError, match=r"dataset mnits: .*did you mean 'mnist'.*nor is there a folder mnits"):
        opened("mnits", tmp_path, data_dir=str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"--data-dir goes with a TensorFlow dataset, and .* is a folder"):
        ImageSource(str(tmp_path), "x")


def features(**more):
    import tensorflow_datasets as tfds

    return {"image": tfds.features.Image(shape=(None, None, 3)), **more}


def test_datasets_without_a_label_or_a_split(tmp_path):
    import tensorflow_datasets as tfds

    image = np.zeros((4, 4, 3), "uint8")
    labels = tfds.features.Sequence(tfds.features.ClassLabel(names=CLASSES))
    prepare(tmp_path, "many", features(labels=labels), [[{"image": image, "labels": [0, 1]}]])
    with pytest.raises(ConfigurationError, match="an image of 8 bits with one class label is accepted; it has "):
        ImageSource("many", str(tmp_path)).count_classes()
    label = tfds.features.ClassLabel(names=CLASSES)
    prepare(tmp_path, "single", features(label=label), [[{"image": image, "label": 0}]])
    with pytest.raises(MissingError, match=r"no split validation or test; it has train: .*such as train\[1%:\]"):
        opened("single", tmp_path, data_dir=str(tmp_path))
    prepare(tmp_path, "blind", features(label=label), [[{"image": image, "label": -1}]])
    (images, _), _ = opened("blind", tmp_path, data_dir=str(tmp_path), split="train", held_out="train")
    with pytest.raises(MissingError, match="images without a label; choose another split"):
        images.labels()
    for batches in (images.middle_views(4, np.arange(1)), images.training(4, Cuts(), batch=1, seed=0)(0, WHOLE)):
        with pytest.raises(MissingError, match="images without a label; choose another split"), readable("blind"):
            list(batches.take(1))


def test_a_damaged_dataset_is_one_line(tmp_path):
    import tensorflow_datasets as tfds

    rows = [{"image": np.zeros((4, 4, 3), "uint8"), "label": 0} for _ in range(6)]
    label = tfds.features.ClassLabel(names=CLASSES)
    (path,) = prepare(tmp_path, "set", features(label=label), [rows])
    (images, _), _ = opened("set", tmp_path, data_dir=str(tmp_path), split="train", held_out="train")
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())

    def write(kept):
        with tf.io.TFRecordWriter(str(path)) as file:
            for record in kept:
                file.write(record)

    write(records[:4])
    with pytest.raises(MissingError, match="a shard has fewer examples than its dataset says"):
        images.labels()
    batches = images.training(4, Cuts(), batch=2, seed=0)(0, WHOLE)
    with pytest.raises(MissingError, match="fewer examples than its dataset says"), readable("set"):
        list(batches.take(4))
    write([record.replace(b"PNG", b"GNP") for record in records])
    with pytest.raises(MissingError, match="dataset set: a file cannot be read"), readable("set"):
        list(images.training(4, Cuts(), batch=2, seed=0)(0, WHOLE).take(1))
