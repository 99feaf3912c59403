import os
import time
from pathlib import Path

import pytest
from conftest import ROOT
from published_sets import write_static_mnist

from vaelab.data.static_mnist import StaticMNIST, read_bits

REAL = os.environ.get("VAELAB_REAL_DATA", "")


def load_static(root, **settings):
    data = StaticMNIST(str(root), **settings)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("end", [" \n", "\n", "\r\n"])
def test_rows_are_read_as_binary_images(tmp_path, monkeypatch, compress, end):
    written = write_static_mnist(tmp_path, monkeypatch, compress, end)
    data = load_static(tmp_path)
    for name, bits in written.items():
        assert (data.splits[name].images.flatten(1).numpy() == 255 * bits).all()
    assert data.pixels == "binary"
    assert data.bits_sha256 == StaticMNIST.sha256
    assert data.splits["train"].labels.shape == (30, 0)


def test_binarizing_again_changes_nothing(tmp_path, monkeypatch):
    written = write_static_mnist(tmp_path, monkeypatch)
    data = load_static(tmp_path, binarize="dynamic")
    x = data.prepare(data.splits["train"].images, fresh=True)
    assert (x.flatten(1).numpy() == written["train"]).all()


@pytest.mark.parametrize(
    "text", ["0 1 2", "0.5 1", "0 10 1", "", "<html>", "1 0\n", "0 " * 783 + "\n"]
)
def test_file_of_another_format_is_refused(tmp_path, text):
    (tmp_path / "x.amat").write_text(text)
    with pytest.raises(ValueError, match=r"x\.amat must have rows of 784 digits 0 and 1"):
        read_bits(tmp_path / "x.amat")


def test_truncated_gzip_file_is_refused(tmp_path, monkeypatch):
    write_static_mnist(tmp_path, monkeypatch, compress=True)
    path = tmp_path / "static_mnist/binarized_mnist_valid.amat.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"valid\.amat\.gz cannot be read"):
        load_static(tmp_path)


def test_altered_bits_are_refused(tmp_path, monkeypatch):
    write_static_mnist(tmp_path, monkeypatch)
    path = tmp_path / "static_mnist/binarized_mnist_test.amat"
    text = path.read_text()
    path.write_text(("1" if text[0] == "0" else "0") + text[1:])
    with pytest.raises(ValueError, match=r"test\.amat is truncated or altered"):
        load_static(tmp_path)


def test_error_of_a_missing_file_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        StaticMNIST(str(tmp_path)).prepare_data()
    message = str(error.value)
    assert "\n" not in message
    for word in (f"{tmp_path}/static_mnist", "binarized_mnist_train.amat.gz", "larocheh", "VAELAB"):
        assert word in message


@pytest.mark.parametrize("settings", [{"dequantize": True}, {"shape": (3, 28, 28)}])
def test_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(ValueError, match=f"^data.{next(iter(settings))}="):
        StaticMNIST("data", **settings)


@pytest.mark.skipif(not REAL, reason="VAELAB_DATA is not set, but the real files are needed")
def test_real_files_are_read_in_seconds_and_have_the_published_hash():
    if not Path(ROOT / REAL, "static_mnist").is_dir():
        pytest.skip("VAELAB_DATA has no static_mnist")
    start = time.process_time()
    data = load_static(ROOT / REAL)
    assert time.process_time() - start < 10
    assert [len(data.splits[name].images) for name in ("train", "val", "test")] == [
        50_000,
        *[10_000] * 2,
    ]
    p = (data.splits["train"].images.float().mean(0) / 255).clamp(0.001, 0.999)
    x = data.splits["test"].images / 255
    nll = -(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1).mean().item()
    assert nll == pytest.approx(206, abs=1)  # that of one Bernoulli for each pixel of MNIST
