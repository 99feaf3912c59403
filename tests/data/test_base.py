import hashlib

import numpy as np
import pytest
import torch

from vaelab.data.base import (
    DataModule,
    OrderedBatches,
    Split,
    TrainingBatches,
    choose_subset,
)


class NumberedImages(DataModule):
    """Grayscale images whose pixels all equal the index of the image, which is also its label."""

    def load(self):
        sizes = {"train": 103, "val": 20, "test": 31}
        return {
            name: Split(make_numbered_images(size), torch.arange(size))
            for name, size in sizes.items()
        }


def make_numbered_images(size):
    return torch.arange(size, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


@pytest.fixture
def data():
    data = NumberedImages((1, 2, 2), batch_size=16)
    data.setup()
    return data


def read_labels(batches):
    return torch.cat([batch[1] for batch in batches])


def test_epoch_has_every_image_once_in_an_order_of_seed_and_epoch(data):
    loader = data.train_dataloader()
    first = read_labels(loader)
    assert torch.equal(first.sort().values, torch.arange(103))
    assert torch.equal(first, read_labels(data.train_dataloader()))
    loader.set_epoch(1)
    assert not torch.equal(first, read_labels(loader))
    data.seed = 1
    assert not torch.equal(first, read_labels(data.train_dataloader()))
    assert len(list(loader)) == len(loader) == 7


def test_labels_stay_with_their_images(data):
    for x, y in data.train_dataloader():
        assert torch.equal(x[:, 0, 0, 0].long(), y)


def test_batches_equal_those_of_a_torch_dataloader(data):
    order = read_labels(data.train_dataloader())
    dataloader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*data.splits["train"]), batch_size=16, sampler=order.tolist()
    )
    for batch, (x, y) in zip(data.train_dataloader(), dataloader, strict=True):
        assert torch.equal(batch[0], x)
        assert torch.equal(batch[1], y)


@pytest.mark.parametrize("world_size", [2, 4])
def test_training_batch_is_divided_equally_among_processes(data, world_size):
    split = data.splits["train"]
    whole = list(TrainingBatches(split, 16, seed=3))
    parts = [list(TrainingBatches(split, 16, 3, rank, world_size)) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    for number, batch in enumerate(zip(*parts, strict=True)):
        assert len({len(y) for _, y in batch}) == 1
        combined = torch.cat([y for _, y in batch]).sort().values
        if number < 5:  # with 4 processes, batch 5 also has the 4 images after it
            assert torch.equal(combined, whole[number][1].sort().values)
    assert sum(len(y) for part in parts for _, y in part) == 103 - 103 % world_size


def test_batch_size_that_processes_cannot_divide_is_refused(data):
    with pytest.raises(ValueError, match=r"batch_size=16 .* 3 processes: .* data\.batch_size=18$"):
        TrainingBatches(data.splits["train"], 16, 0, 0, 3)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_processes_together_evaluate_every_image_once(data, world_size):
    split = data.splits["test"]
    loaders = [OrderedBatches(split, 10, rank, world_size) for rank in range(world_size)]
    combined = torch.cat(
        [read_labels(loader) for loader in loaders if loader.rank < loader.num_batches]
    )
    assert torch.equal(combined.sort().values, torch.arange(31))
    pairs = [pair for loader in loaders for pair in zip(loader.batch_numbers, loader, strict=True)]
    assert sorted(number for number, _ in pairs if number < 4) == [0, 1, 2, 3]
    assert all(len(batch[0]) for _, batch in pairs)  # also for a process without a batch


@pytest.mark.parametrize("images", [None, 7, 31, 100])
def test_evaluated_images_come_with_their_index_in_the_split(data, images):
    batches = list(data.batches("test", images, size=4))
    x, y, index = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = torch.arange(31) if images != 7 else choose_subset(31, 7)
    assert torch.equal(index, expected)
    assert torch.equal(y, index)
    assert torch.equal(x[:, 0, 0, 0].long(), index)
    assert [len(batch[1]) for batch in batches] == [4] * (len(y) // 4) + [len(y) % 4]


def test_subset_is_random_sorted_and_always_the_same():
    subset = choose_subset(10_000, 1000)
    torch.manual_seed(1)
    assert torch.equal(subset, choose_subset(10_000, 1000))
    assert (subset.diff() > 0).all()
    counts = torch.histc(subset.double(), 10, 0, 10_000)
    error = (1000 * 0.1 * 0.9 * 0.9) ** 0.5  # hypergeometric
    assert ((counts - 100).abs() < 4 * error).all()
    assert set(choose_subset(10_000, 100).tolist()) <= set(subset.tolist())
    assert torch.equal(choose_subset(5, 9), torch.arange(5))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2,), 128), ((1, 28, 28), 128), ((3, 64, 64), 128), ((3, 256, 256), 21), ((2**23,), 1)],
)
def test_evaluation_batch_depends_on_the_shape_only(shape, size):
    sizes = {NumberedImages(shape, batch_size=n).evaluation_batch for n in (1, 7, 128, 5000)}
    assert sizes == {size}


def test_validation_batches_are_those_of_an_evaluation(data, monkeypatch):
    monkeypatch.setattr("vaelab.data.base.EVALUATION_BATCH", 8)
    pairs = zip(data.val_dataloader(), data.batches("val"), strict=True)
    for validation, evaluation in pairs:
        assert all(map(torch.equal, validation, evaluation))


def test_uint8_is_scaled_to_the_unit_interval(data):
    x = data.prepare(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([[0.0, 0.2, 1.0]]))
    real = torch.tensor([-3.0, 7.0])
    assert data.prepare(real) is real


def load_binarized(kind):
    data = NumberedImages((1, 2, 2), binarize=kind, batch_size=16)
    data.setup()
    return data


def test_dynamic_binarization_samples_anew_and_fixed_does_not():
    x = torch.full((64, 1, 2, 2), 128, dtype=torch.uint8)
    dynamic = load_binarized("dynamic")
    assert not torch.equal(dynamic.prepare(x, fresh=True), dynamic.prepare(x, fresh=True))
    assert set(dynamic.prepare(x, fresh=True).unique().tolist()) == {0.0, 1.0}
    fixed = load_binarized("fixed")
    bits = fixed.splits["train"].images
    assert set(bits.unique().tolist()) == {0, 255}
    assert torch.equal(fixed.prepare(bits, fresh=True), fixed.prepare(bits, fresh=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_mean_of_dynamic_binarization_is_the_pixel(dtype):
    data = load_binarized("dynamic")
    levels = torch.tensor([0, 1, 51, 128, 254, 255], dtype=torch.uint8)
    chance = levels / 255
    x = (levels if dtype == torch.uint8 else chance).repeat(40_000, 1)
    mean = data.prepare(x, fresh=True).mean(0)
    error = (chance * (1 - chance) / 40_000).sqrt()
    assert ((mean - chance).abs() <= 4 * error).all()


def test_validation_and_test_are_binarized_once_and_hashed():
    first, second = load_binarized("dynamic"), load_binarized("fixed")
    for name in ("val", "test"):
        assert torch.equal(first.splits[name].images, second.splits[name].images)
    chances = np.repeat(np.arange(31) / 255, 4).reshape(31, 4)
    bits = np.random.RandomState(0).random_sample((31, 4)) < chances
    expected = hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest()
    assert first.bits_sha256["test"] == expected
    assert "train" not in first.bits_sha256
    assert "train" in second.bits_sha256


def test_training_images_are_evaluated_with_fixed_binarization():
    data = load_binarized("dynamic")
    first, second = (torch.cat([x for x, *_ in data.batches("train")]) for _ in range(2))
    assert set(first.unique().tolist()) == {0, 255}
    assert torch.equal(first, second)
    assert "train" in data.bits_sha256
    assert len(data.splits["train"].images.unique()) > 2  # the training images stay unchanged


def test_pixels_and_range_describe_the_images(data):
    assert (data.pixels, data.range) == ("levels", (0.0, 1.0))
    assert load_binarized("dynamic").pixels == "binary"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0"),
        ({"binarize": "often"}, "choose from none, dynamic, fixed"),
        ({"shape": (1, 3, 3)}, r"data\.shape=\[1, 3, 3\].*\[1, 2, 2\]: set data\.shape=\[1,2,2\]"),
    ],
)
def test_invalid_arguments_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NumberedImages(**{"shape": (1, 2, 2)} | settings).setup()


def test_batches_are_on_the_device_of_the_images():
    images = torch.zeros(10, 1, 2, 2, dtype=torch.uint8, device="meta")
    batches = TrainingBatches(Split(images, torch.zeros(10, 0, device="meta")), 4, seed=0)
    assert [(x.device.type, len(x)) for x, _ in batches] == [("meta", 4), ("meta", 4), ("meta", 2)]


@pytest.fixture
def dequantized():
    data = NumberedImages((1, 2, 2), batch_size=16, dequantize=True)
    data.setup()
    return data


def test_dequantized_level_is_uniform_in_its_interval(dequantized):
    x = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).repeat(100, 1, 2, 2)
    for fresh in (False, True):
        real = dequantized.prepare(x, fresh)
        assert torch.equal((real * 256).floor(), x.float())
        noise = real.double() * 256 - x
        assert noise.mean().item() == pytest.approx(0.5, abs=0.005)
        assert noise.var().item() == pytest.approx(1 / 12, abs=0.002)
    assert dequantized.pixels == "dequantized"
    assert dequantized.range == (0.0, 1.0)


def test_dequantization_noise_is_new_in_training_and_fixed_in_evaluation(dequantized):
    x = dequantized.splits["test"].images
    before = torch.get_rng_state()
    assert torch.equal(dequantized.prepare(x), dequantized.prepare(x))
    assert torch.equal(torch.get_rng_state(), before)
    first, second = dequantized.prepare(x, fresh=True), dequantized.prepare(x, fresh=True)
    assert not torch.equal(first, second)


def test_dequantization_noise_depends_on_the_index_of_an_image_and_not_on_its_batch(dequantized):
    x = dequantized.splits["test"].images
    whole = dequantized.prepare(x)
    for size in (1, 4, 31):
        for images in (None, 9):
            for part, _, index in dequantized.batches("test", images, size):
                assert torch.equal(dequantized.prepare(part, index=index), whole[index])
    same_level = torch.full((31, 1, 2, 2), 7, dtype=torch.uint8)
    assert len(dequantized.prepare(same_level).unique(dim=0)) == 31
    dequantized.seed = 1
    assert not (dequantized.prepare(x) == whole).any()


def test_validation_during_training_adds_the_noise_of_an_evaluation(dequantized, monkeypatch):
    monkeypatch.setattr("vaelab.data.base.EVALUATION_BATCH", 8)
    whole = dequantized.prepare(dequantized.splits["val"].images)
    batches = [dequantized.on_after_batch_transfer(x, 0) for x in dequantized.val_dataloader()]
    assert len(batches) == 3
    assert torch.equal(torch.cat([x for x, _ in batches]), whole)


def test_binary_and_real_pixels_cannot_be_dequantized():
    with pytest.raises(ValueError, match=r"binary.* or data\.binarize=none"):
        NumberedImages((1, 2, 2), "dynamic", dequantize=True).setup()
    data = NumberedImages((1, 2, 2), dequantize=True)
    data.load = lambda: {name: Split(torch.rand(9, 1, 2, 2), torch.arange(9)) for name in SPLITS}
    with pytest.raises(ValueError, match=r"set data\.dequantize=false$"):
        data.setup()


SPLITS = ("train", "val", "test")
