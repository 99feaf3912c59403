"""Random changes of training images."""

import pytest
import tiny
import torch

import vaelab
from vaelab.data.augmentation import AUGMENTATIONS, augment
from vaelab.data.base import Split
from vaelab.data.mnist5k import MNIST5k
from vaelab.runtime.errors import UserError

INDEX = torch.arange(64)


@pytest.fixture
def x():
    return torch.randint(0, 256, (64, 3, 12, 16), dtype=torch.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_changes_depend_on_seed_epoch_and_image_only(x, name):
    changed = augment(x, [name], 0, 3, INDEX)
    assert changed.dtype == x.dtype
    assert changed.shape == x.shape
    order = torch.randperm(64)
    parts = [augment(x[index], [name], 0, 3, index) for index in order.split(10)]
    assert torch.equal(torch.cat(parts), changed[order])
    for seed, epoch in ((1, 3), (0, 4)):
        assert not torch.equal(augment(x, [name], seed, epoch, INDEX), changed)
    assert (
        len(
            {
                tuple(each.flatten().tolist())
                for each in augment(x[:1].expand_as(x), [name], 0, 3, INDEX)
            }
        )
        > 1
    )


def test_flip_mirrors_half_of_the_images(x):
    changed = augment(x, ["flip"], 0, 0, torch.arange(64))
    is_flipped = (changed == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(changed[~is_flipped], x[~is_flipped])
    assert 20 < is_flipped.sum() < 44


def test_crop_shifts_by_an_eighth_at_most(x):
    changed = augment(x, ["crop"], 0, 0, INDEX)
    inside = x[:, :, 3:-3, 4:-4]
    shifts = set()
    for image, part in zip(changed, inside, strict=True):
        found = [
            (i - 3, j - 4)
            for i in range(1, 6)
            for j in range(2, 7)
            if torch.equal(image[:, i : i + 6, j : j + 8], part)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert {abs(i) for i, _ in shifts} == {0, 1}
    assert {abs(j) for _, j in shifts} == {0, 1, 2}


@pytest.mark.parametrize("size", [(1, 28), (2, 2), (28, 1), (3, 64)])
def test_crop_works_at_every_size(size):
    x = torch.rand(8, 1, *size)
    assert augment(x, ["crop"], 0, 0, torch.arange(8)).shape == x.shape


def test_rotation_keeps_a_disc_and_moves_a_bar():
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 33)] * 2, indexing="ij")
    disc = torch.sigmoid(20 * (0.6 - (rows**2 + columns**2).sqrt())).expand(64, 1, 33, 33)
    bar = ((rows.abs() < 0.1) & (columns.abs() < 0.8)).float().expand(64, 1, 33, 33)
    assert (augment(disc, ["rotate"], 0, 0, INDEX) - disc).abs().max() < 0.05
    turned = augment(bar, ["rotate"], 0, 0, INDEX)
    ends = turned[:, 0, :, 28].argmax(1).float() - 16  # 0.75 right of the center, 12 pixels
    assert ends.abs().max() <= 4  # 12 tan(15 degrees) = 3.2
    assert ends.min() < -1
    assert ends.max() > 1


def test_color_changes_channels_within_the_range(x):
    gray = torch.full((64, 3, 4, 4), 0.5)
    changed = augment(gray, ["color"], 0, 0, INDEX)
    assert changed.min() >= 0.4 - 1e-6
    assert changed.max() <= 0.6 + 1e-6
    assert (changed.amax(1) - changed.amin(1)).abs().max() < 1e-6  # gray stays gray
    assert changed.std() > 0.03


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": ["mirror"]}, "mirror is unknown"),
        ({"augment": ["color"]}, "three color channels"),
        ({"augment": ["rotate"], "binarize": "fixed"}, "the pixels are binary"),
        ({"augment": ["rotate"], "missing_fraction": 0.5}, "missing"),
    ],
)
def test_augmentations_that_cannot_work_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        MNIST5k(**settings).setup()


def test_training_batches_are_changed_and_others_are_not(train):
    data = MNIST5k(augment=["flip"], binarize="none")
    data.setup()
    x, y, index = next(iter(data.train_dataloader()))
    split = data.splits["train"]
    assert isinstance(split, Split)
    assert torch.equal(x, split.images[index])
    assert torch.equal(y, split.labels[index])
    assert any("changed at random by flip" in each for each in data.conversions)
    plain, changed, again = (
        train(*tiny.TINY, "data.binarize=none", f"data.augment={names}", folder=folder)
        for names, folder in (("[]", "a"), ("[flip]", "b"), ("[flip]", "c"))
    )
    assert changed["elbo"] == again["elbo"]
    assert changed["elbo"] != plain["elbo"]


def test_augmentation_of_a_run_of_fit_is_recorded(tmp_path):
    x = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8).numpy()
    data = vaelab.make_data(x, augment=["flip"], batch_size=16)
    vae = vaelab.make_model(data.shape, 2, model="mlp model.hidden=[4]")
    run = vaelab.fit(vae, data, folder=tmp_path / "run", max_epochs=1, samples=1, logger="none")
    assert vaelab.load(run.folder)._parts.data.augment == ("flip",)
