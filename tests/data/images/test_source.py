"""Labelled images of folders and of TensorFlow datasets: each seen once an epoch, from any step on, by any host."""

import numpy as np
import pytest

from scalecli.data.images.datasets import DatasetImages
from scalecli.data.images.source import ImageSource, measured_batches
from scalecli.data.images.views import Cuts
from scalecli.data.order import WHOLE, HostShare
from scalecli.specs.vision import PADDING_LABEL
from tests.data.images.pictures import CLASSES, class_of, numbers_of, pixels, write_folder
from tests.datasets import prepare

IMAGES, HELD_OUT, BATCH, SIZE = 42, 9, 4, 3
SHARDS = (20, 5, 17)  # in windows of 8


def no_progress(done, total):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_folder(root / "train", range(IMAGES))
    write_folder(root / "val", range(100, 100 + HELD_OUT))
    return ImageSource(str(root)).open(tmp_path_factory.mktemp("cache"), no_progress)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tfds.features.Image(shape=(None, None, 1)),
        "label": tfds.features.ClassLabel(names=CLASSES),
        "file_name": tfds.features.Text(),
    }

    def row(number):
        return {"image": pixels(number), "label": class_of(number), "file_name": str(number)}

    ends = np.cumsum(SHARDS)
    shards = [[row(n) for n in range(end - size, end)] for size, end in zip(SHARDS, ends, strict=True)]
    prepare(root, "animals", features, shards)
    prepare(root, "animals", features, [[row(100 + n) for n in range(HELD_OUT)]], split="test")
    return root


@pytest.fixture(scope="module")
def dataset(data_dir, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    training, held_out = ImageSource("animals", str(data_dir)).open(cache, no_progress)
    return DatasetImages(training.split, training.image, training.label, training.classes, window=8), held_out


@pytest.fixture(params=["folder", "dataset"])
def images(request):
    return request.getfixturevalue(request.param)


def seen(training, count, *, start=0, share=WHOLE, seed=1, batch=BATCH):
    """The numbers of the images of `count` batches, [count, rows], after a look at their labels."""
    batches = training.training(SIZE, Cuts(0.5), batch=batch, seed=seed)(start, share)
    found = list(batches.take(count).as_numpy_iterator())
    numbers = np.array([numbers_of(each["images"]) for each in found])
    for each, of_batch in zip(found, numbers, strict=True):
        assert each["images"].shape[1:] == (SIZE, SIZE, 3) and each["images"].dtype == np.float32
        assert each["labels"].dtype == np.int32 and list(each["labels"]) == [class_of(n) for n in of_batch]
    return numbers


def test_what_there_is(images):
    training, held_out = images
    assert (training.classes, held_out.classes) == (CLASSES, CLASSES)
    assert (training.images, held_out.images) == (IMAGES, HELD_OUT)
    assert training.identity != held_out.identity
    assert training.left_out == held_out.left_out == {}
    assert np.bincount(training.labels()).tolist() == [14, 14, 14]


def test_an_epoch_meets_every_image_once_in_an_order_of_its_own(images):
    training, _ = images
    epochs = seen(training, 2 * IMAGES // BATCH).ravel().reshape(2, IMAGES)
    assert [sorted(epoch) for epoch in epochs] == [list(range(IMAGES))] * 2
    assert not np.array_equal(*epochs)
    assert not np.array_equal(seen(training, 3, seed=2), seen(training, 3))


def test_training_goes_on_from_any_step_with_the_same_views(images):
    training, _ = images

    def batches(start, count):
        found = training.training(SIZE, Cuts(0.5), batch=BATCH, seed=1)(start, WHOLE)
        return list(found.take(count).as_numpy_iterator())

    whole = batches(0, 25)
    for start in (1, 5, 6, 10, 11, 21, 24):  # within windows, shards and epochs, and at their ends
        (again,) = batches(start, 1)
        for name in again:
            np.testing.assert_array_equal(again[name], whole[start][name], err_msg=f"{start} {name}")


def test_hosts_read_parts_of_the_same_batches(images):
    training, _ = images
    whole = seen(training, 12)
    halves = [seen(training, 6, start=6, share=HostShare(host, 2)) for host in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole[6:])
    pieces = seen(training, 12, start=6, share=HostShare(0, 1, pieces=2))
    np.testing.assert_array_equal(pieces.reshape(6, BATCH), whole[6:])


def test_chosen_images_are_read_in_order_and_filled_up(images):
    training, _ = images
    labels = training.labels()
    chosen = np.array([0, 3, 19, 20, 41])
    found = list(measured_batches(training, SIZE, chosen, 4).as_numpy_iterator())
    assert [list(each["labels"]) for each in found] == [list(labels[chosen[:4]]), [labels[41], *[PADDING_LABEL] * 3]]
    numbers = numbers_of(np.concatenate([each["images"] for each in found]))[:5]
    assert [class_of(number) for number in numbers] == list(labels[chosen])
    assert len(set(numbers)) == 5


def test_as_many_labels_as_hold_so_many_of_each_class(dataset, folder):
    training, _ = dataset
    assert training.labels().tolist() == [class_of(n) for n in range(IMAGES)]
    assert training.labels(per_class=2).tolist() == [class_of(n) for n in range(8)]  # one window
    assert len(training.labels(per_class=100)) == IMAGES
    assert len(folder[0].labels(per_class=2)) == IMAGES  # known without reading


def test_a_part_of_a_split(data_dir, tmp_path):
    source = ImageSource("animals", str(data_dir), "train[4:]", "train[:4]")
    training, held_out = source.open(tmp_path, no_progress)
    assert sorted(seen(training, 19, batch=2).ravel()) == list(range(4, IMAGES))
    (batch,) = measured_batches(held_out, SIZE, np.arange(4), 4).as_numpy_iterator()
    assert list(numbers_of(batch["images"])) == [0, 1, 2, 3]
