import hashlib

import numpy as np
import pytest
import torch

from vaelab.data.base import DataModule, Split, TrainingBatches, WholeBatches


class Numbered(DataModule):
    """Grey images that all show their own number."""

    def load(self):
        sizes = {"train": 103, "val": 20, "test": 31}
        return {name: Split(_numbered(size), torch.arange(size)) for name, size in sizes.items()}


def _numbered(size):
    return torch.arange(size, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


@pytest.fixture
def data():
    data = Numbered((1, 2, 2), batch_size=16)
    data.setup()
    return data


def numbers(batches):
    return torch.cat([y for _, y in batches])


def test_an_epoch_shows_every_image_once_and_its_order_follows_from_seed_and_epoch(data):
    loader = data.train_dataloader()
    first = numbers(loader)
    assert torch.equal(first.sort().values, torch.arange(103))
    assert torch.equal(first, numbers(data.train_dataloader()))
    loader.set_epoch(1)
    assert not torch.equal(first, numbers(loader))
    data.seed = 1
    assert not torch.equal(first, numbers(data.train_dataloader()))
    assert len(list(loader)) == len(loader) == 7


def test_labels_stay_with_their_images(data):
    for x, y in data.train_dataloader():
        assert torch.equal(x[:, 0, 0, 0].long(), y)


def test_two_loaders_give_the_batches_of_torchs_own_dataloader(data):
    order = numbers(data.train_dataloader())
    theirs = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*data.splits["train"]), batch_size=16, sampler=order.tolist()
    )
    for ours, (x, y) in zip(data.train_dataloader(), theirs, strict=True):
        assert torch.equal(ours[0], x)
        assert torch.equal(ours[1], y)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_each_training_batch_equally(data, world):
    split = data.splits["train"]
    whole = list(TrainingBatches(split, 16, seed=3))
    parts = [list(TrainingBatches(split, 16, 3, rank, world)) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    for number, batch in enumerate(zip(*parts, strict=True)):
        assert len({len(y) for _, y in batch}) == 1
        together = torch.cat([y for _, y in batch]).sort().values
        if number < 6:
            assert torch.equal(together, whole[number][1].sort().values)
    assert sum(len(y) for part in parts for _, y in part) == 103 - 103 % world


def test_a_batch_that_cannot_be_shared_is_refused(data):
    with pytest.raises(ValueError, match=r"data\.batch_size=16 .* 3 processes"):
        TrainingBatches(data.splits["train"], 16, 0, 0, 3)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_evaluate_every_image_once(data, world):
    split = data.splits["test"]
    shares = [WholeBatches(split, 10, rank, world) for rank in range(world)]
    together = torch.cat([numbers(share) for share in shares if share.rank < share.total])
    assert torch.equal(together.sort().values, torch.arange(31))
    pairs = [pair for share in shares for pair in zip(share.numbers, share, strict=True)]
    assert sorted(number for number, _ in pairs if number < 4) == [0, 1, 2, 3]
    assert all(len(x) for _, (x, _) in pairs)  # also for a process that none is left for


def test_uint8_becomes_floats_in_the_unit_interval(data):
    x = data.prepare(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    torch.testing.assert_close(x, torch.tensor([[0.0, 0.2, 1.0]]))
    real = torch.tensor([-3.0, 7.0])
    assert data.prepare(real) is real


def binarized(kind):
    data = Numbered((1, 2, 2), binarize=kind, batch_size=16)
    data.setup()
    return data


def test_dynamic_bits_are_new_at_every_presentation_and_fixed_ones_are_not():
    x = torch.full((64, 1, 2, 2), 128, dtype=torch.uint8)
    dynamic = binarized("dynamic")
    assert not torch.equal(dynamic.prepare(x, fresh=True), dynamic.prepare(x, fresh=True))
    assert set(dynamic.prepare(x, fresh=True).unique().tolist()) == {0.0, 1.0}
    fixed = binarized("fixed")
    bits = fixed.splits["train"].images
    assert set(bits.unique().tolist()) == {0, 255}
    assert torch.equal(fixed.prepare(bits, fresh=True), fixed.prepare(bits, fresh=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_dynamic_bits_have_the_pixel_as_their_mean(dtype):
    data = binarized("dynamic")
    levels = torch.tensor([0, 1, 51, 128, 254, 255], dtype=torch.uint8)
    chance = levels / 255
    x = (levels if dtype == torch.uint8 else chance).repeat(40_000, 1)
    mean = data.prepare(x, fresh=True).mean(0)
    error = (chance * (1 - chance) / 40_000).sqrt()
    assert ((mean - chance).abs() <= 4 * error).all()


def test_bits_of_validation_and_test_are_drawn_once_and_hashed():
    first, again = binarized("dynamic"), binarized("fixed")
    for name in ("val", "test"):
        assert torch.equal(first.splits[name].images, again.splits[name].images)
    grey = np.repeat(np.arange(31) / 255, 4).reshape(31, 4)
    bits = np.random.RandomState(0).random_sample((31, 4)) < grey
    expected = hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest()
    assert first.bits_sha256["test"] == expected
    assert "train" not in first.bits_sha256
    assert "train" in again.bits_sha256


def test_training_images_are_evaluated_on_bits_drawn_once():
    data = binarized("dynamic")
    first, again = (torch.cat([x for x, _ in data.batches("train")]) for _ in range(2))
    assert set(first.unique().tolist()) == {0, 255}
    assert torch.equal(first, again)
    assert "train" in data.bits_sha256
    assert len(data.splits["train"].images.unique()) > 2  # what training sees is as it was


def test_the_kind_and_the_range_of_pixels_are_stated(data):
    assert (data.pixels, data.range) == ("levels", (0.0, 1.0))
    assert binarized("dynamic").pixels == "binary"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0"),
        ({"binarize": "often"}, "choose from none, dynamic, fixed"),
        ({"shape": (1, 3, 3)}, r"data\.shape=\[1, 3, 3\].*\[1, 2, 2\]"),
    ],
)
def test_an_impossible_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Numbered(**{"shape": (1, 2, 2)} | settings).setup()


def test_batches_are_where_the_images_are():
    images = torch.zeros(10, 1, 2, 2, dtype=torch.uint8, device="meta")
    batches = TrainingBatches(Split(images, torch.zeros(10, 0, device="meta")), 4, seed=0)
    assert [(x.device.type, len(x)) for x, _ in batches] == [("meta", 4), ("meta", 4), ("meta", 2)]


@pytest.fixture
def dequantized():
    data = Numbered((1, 2, 2), batch_size=16, dequantize=True)
    data.setup()
    return data


def test_a_dequantized_level_is_a_real_number_of_its_own_interval(dequantized):
    x = torch.arange(256, dtype=torch.uint8).reshape(-1, 1, 1, 1).repeat(100, 1, 2, 2)
    for fresh in (False, True):
        real = dequantized.prepare(x, fresh)
        assert torch.equal((real * 256).floor(), x.float())
        rest = real.double() * 256 - x
        assert rest.mean().item() == pytest.approx(0.5, abs=0.005)
        assert rest.var().item() == pytest.approx(1 / 12, abs=0.002)
    assert dequantized.pixels == "dequantized"
    assert dequantized.range == (0.0, 1.0)


def test_the_noise_of_dequantization_is_new_in_training_and_fixed_in_evaluation(dequantized):
    x = dequantized.splits["test"].images
    before = torch.get_rng_state()
    assert torch.equal(dequantized.prepare(x), dequantized.prepare(x))
    assert torch.equal(torch.get_rng_state(), before)
    first, second = dequantized.prepare(x, fresh=True), dequantized.prepare(x, fresh=True)
    assert not torch.equal(first, second)


def test_bits_and_real_numbers_cannot_be_dequantized():
    with pytest.raises(ValueError, match=r"binary.* or data\.binarize=none"):
        Numbered((1, 2, 2), "dynamic", dequantize=True).setup()
    data = Numbered((1, 2, 2), dequantize=True)
    data.load = lambda: {name: Split(torch.rand(9, 1, 2, 2), torch.arange(9)) for name in SPLITS}
    with pytest.raises(ValueError, match=r"set data\.dequantize=false$"):
        data.setup()


SPLITS = ("train", "val", "test")
