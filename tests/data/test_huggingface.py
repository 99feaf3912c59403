import io
import socket
import time

import numpy as np
import pytest
import torch
from PIL import Image

datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")

from vaelab.data.huggingface import HuggingFace  # noqa: E402
from vaelab.runtime.errors import MissingExtraError  # noqa: E402

SHAPE = (3, 12, 16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()


def make_pixels(number):
    return np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def write_parquet(folder, **counts):
    """Write a parquet file of images with the class `number % 3` for each split."""
    folder.mkdir()
    features = datasets.Features(
        picture=datasets.Image(),
        digit=datasets.ClassLabel(names=["a", "b", "c"]),
        text=datasets.Value("string"),
    )
    for split, count in counts.items():
        rows = []
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(make_pixels(number)).save(file, "PNG")
            image = {"bytes": file.getvalue(), "path": None}
            rows.append({"picture": image, "digit": number % 3, "text": "x"})
        datasets.Dataset.from_list(rows, features).to_parquet(folder / f"{split}-0.parquet")
    return str(folder)


def load_hub(path, tmp_path, **settings):
    settings = {"shape": SHAPE, "image": "picture", "cache": str(tmp_path / "cache"), **settings}
    data = HuggingFace(path, **settings)
    data.prepare_data()
    data.setup()
    return data


def test_splits_images_and_classes_are_read_from_parquet(tmp_path):
    path = write_parquet(tmp_path / "x", train=12, validation=3, test=6)
    data = load_hub(path, tmp_path, label="digit")
    assert {name: len(split.images) for name, split in data.splits.items()} == {
        "train": 12,
        "val": 3,
        "test": 6,
    }
    for number, image in enumerate(data.splits["train"].images):
        assert (image.permute(1, 2, 0).numpy() == make_pixels(number)).all()
    assert data.splits["test"].labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.classes == ("a", "b", "c")
    assert data.pixels == "levels"


def test_missing_splits_are_taken_from_the_training_images(tmp_path):
    path = write_parquet(tmp_path / "x", train=40)
    one, other = (load_hub(path, tmp_path, test=0.2) for _ in range(2))
    sizes = {name: len(split.images) for name, split in one.splits.items()}
    assert sizes == {"train": 28, "val": 4, "test": 8}
    assert torch.equal(one.splits["test"].images, other.splits["test"].images)
    joined = torch.cat([split.images for split in one.splits.values()]).flatten(1)
    assert len(joined.unique(dim=0)) == 40
    assert one.splits["train"].labels.shape == (28, 0)


def test_folder_of_images_has_a_class_for_each_folder(tmp_path):
    for number in range(20):
        path = tmp_path / "x" / "train" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_pixels(number)).save(path)
    data = load_hub(str(tmp_path / "x"), tmp_path, image="image", label="label")
    assert data.classes == ("a", "b")
    pixels = torch.cat([split.images for split in data.splits.values()])
    labels = torch.cat([split.labels for split in data.splits.values()])
    expected = {make_pixels(i).transpose(2, 0, 1).tobytes(): i % 2 for i in range(20)}
    assert [expected[image.numpy().tobytes()] for image in pixels] == labels.tolist()


def test_images_are_decoded_once(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "x", train=20)
    before = load_hub(path, tmp_path)
    monkeypatch.setattr("vaelab.data.huggingface.read_image", pytest.fail)
    again = load_hub(path, tmp_path)
    assert torch.equal(before.splits["train"].images, again.splits["train"].images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image": "pictur"}, r"^data\.image=pictur: .* did you mean data\.image=picture\?"),
        ({"label": "z"}, r"^data\.label=z: .* choose from picture, digit, text"),
        ({"image": "digit"}, r"^data\.image=digit holds .* are no images"),
        ({"label": "text"}, r"^data\.label=text holds .* labels must be numbers"),
        ({"shape": (2, 8, 8)}, r"^data\.shape=\[2, 8, 8\]"),
        ({"shape": (3, 8, 8), "crop": 0}, r"^data\.crop=0"),
        ({"name": "other"}, r"^data\.path=\S+ cannot be read \(.*other"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(tmp_path, settings, message):
    path = write_parquet(tmp_path / "x", train=20)
    with pytest.raises(ValueError, match=message) as error:
        load_hub(path, tmp_path, **settings)
    assert "\n" not in str(error.value)


def test_data_without_training_images_is_refused(tmp_path):
    path = write_parquet(tmp_path / "x", test=20)
    with pytest.raises(ValueError, match="has the splits test, but none is called train"):
        load_hub(path, tmp_path)


def test_damaged_image_is_named_by_its_row(tmp_path):
    path = write_parquet(tmp_path / "x", train=4)
    rows = [{"picture": {"bytes": b"no image", "path": None}}]
    features = datasets.Features(picture=datasets.Image())
    datasets.Dataset.from_list(rows, features).to_parquet(tmp_path / "x" / "test-0.parquet")
    (tmp_path / "x" / "train-0.parquet").unlink()
    (tmp_path / "x" / "test-0.parquet").rename(tmp_path / "x" / "train-0.parquet")
    with pytest.raises(ValueError, match=r"^row 0 cannot be read as an image"):
        load_hub(path, tmp_path)


def test_missing_folder_is_named_without_asking_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", pytest.fail)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load_hub(str(tmp_path / "nothing"), tmp_path)


def test_missing_network_costs_one_line_and_no_retries(tmp_path, monkeypatch):
    calls = []

    def fail_to_connect(*_, **__):
        calls.append(1)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", fail_to_connect)
    monkeypatch.setattr(socket.socket, "connect", fail_to_connect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot be reached .*HF_HUB_OFFLINE=1") as error:
        load_hub("ylecun/mnist", tmp_path)
    assert time.monotonic() - start < 5
    assert "\n" not in str(error.value)
    assert len(calls) <= 2


def test_offline_mode_does_not_ask_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", pytest.fail)
    with pytest.raises(ValueError, match=r"^data\.path=ylecun/mnist cannot be read"):
        load_hub("ylecun/mnist", tmp_path)


def test_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.runtime.errors.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"vaelab\[huggingface\]"):
        HuggingFace(str(tmp_path)).prepare_data()
