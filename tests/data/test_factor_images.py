import gzip
import io
import tarfile
import tracemalloc

import numpy as np
import pytest
import torch
from published_sets import (
    make_cars,
    write_cars3d,
    write_dsprites,
    write_file,
    write_mpi3d,
    write_shapes3d,
    write_smallnorb,
)

from vaelab.data import factor_images
from vaelab.data.cars3d import ARCHIVE, Cars3D
from vaelab.data.dsprites import DSprites
from vaelab.data.factor_images import read_npz_rows
from vaelab.data.mpi3d import MPI3D
from vaelab.data.shapes3d import Shapes3D
from vaelab.data.smallnorb import SmallNORB, read_matrix

SETS = [
    (DSprites, write_dsprites),
    (Shapes3D, write_shapes3d),
    (MPI3D, write_mpi3d),
    (Cars3D, write_cars3d),
    (SmallNORB, write_smallnorb),
]
all_sets = pytest.mark.parametrize(("kind", "write"), SETS, ids=[kind.__name__ for kind, _ in SETS])
SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    for module in ("factor_images", "shapes3d", "smallnorb"):
        monkeypatch.setattr(f"vaelab.data.{module}.CHUNK_IMAGES", 7)


def load_set(kind, root, **settings):
    data = kind(str(root), **settings)
    data.prepare_data()
    data.setup()
    return data


def join_splits(data):
    return (torch.cat([data.splits[name][part] for name in SPLITS]) for part in (0, 1))


def sort_rows(labels):
    """Return the order of rows (N, K) by their columns."""
    return np.lexsort(np.asarray(labels).T[::-1])


@all_sets
def test_every_image_is_in_one_split_with_its_factors(tmp_path, monkeypatch, kind, write):
    written, factors = write(tmp_path, monkeypatch)
    data = load_set(kind, tmp_path)
    images, labels = join_splits(data)
    assert len(labels) == len(np.unique(factors, axis=0)) == len(factors)
    order, expected = sort_rows(labels), sort_rows(factors)
    assert (labels.numpy()[order] == factors[expected]).all()
    assert (images.numpy()[order] == written[expected]).all()
    assert images.dtype == torch.uint8
    assert len(data.factors) == labels.shape[1]
    assert set(data.unordered) < set(data.factors)
    assert all(len(data.splits[name].images) for name in SPLITS)
    assert data.pixels == ("binary" if kind is DSprites else "levels")


@all_sets
def test_split_is_always_the_same_and_images_choose_a_subset(tmp_path, monkeypatch, kind, write):
    write(tmp_path, monkeypatch)
    small, again = (load_set(kind, tmp_path, images=30) for _ in range(2))
    for name in SPLITS:
        assert torch.equal(small.splits[name].images, again.splits[name].images)
    images, labels = join_splits(small)
    assert len(images) == len(labels.unique(dim=0)) == 30
    assert "a random subset of" in small.conversions[0]


@all_sets
def test_images_are_resized_as_a_whole(tmp_path, monkeypatch, kind, write):
    write(tmp_path, monkeypatch)
    channels, side, _ = kind.native_shape
    whole, half = (
        load_set(kind, tmp_path, images=40, shape=(channels, edge, edge))
        for edge in (side, side // 2)
    )
    pooled = torch.nn.functional.avg_pool2d(whole.splits["test"].images.float(), 2)
    difference = (pooled - half.splits["test"].images).abs().mean()
    assert difference < pooled.std() / 2  # the filter is wider than the mean of four pixels
    assert half.pixels == "levels"
    assert torch.equal(whole.splits["test"].labels, half.splits["test"].labels)
    assert half.conversions[-1] == f"resized from {side}x{side} to {side // 2}x{side // 2}"


@all_sets
def test_shape_that_does_not_fit_is_refused(kind, write):
    channels, side, _ = kind.native_shape
    for shape in [(4 - channels, side, side), (channels, side, side - 1), (channels * side,)]:
        with pytest.raises(ValueError, match=rf"set data\.shape=\[{channels},{side},{side}\]"):
            kind("data", shape=shape)


@all_sets
def test_error_of_a_missing_file_says_what_to_put_where(tmp_path, kind, write):
    with pytest.raises(FileNotFoundError) as error:
        kind(str(tmp_path)).prepare_data()
    message = str(error.value)
    assert "\n" not in message
    for word in (f"{tmp_path}/", " lacks ", "download it from http", "VAELAB_DATA"):
        assert word in message


@pytest.mark.parametrize(("kind", "write"), [SETS[0], SETS[1], SETS[2]])
def test_damaged_file_is_named(tmp_path, monkeypatch, kind, write):
    write(tmp_path, monkeypatch)
    (path,) = kind(str(tmp_path)).find_files()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{path.name} is truncated or altered"):
        kind(str(tmp_path)).prepare_data()


@pytest.mark.parametrize("images", [0, 2])
def test_too_few_images_are_refused(images):
    with pytest.raises(ValueError, match=rf"^data\.images={images}: it must be at least 3"):
        DSprites("data", images=images)


def test_unknown_name_of_mpi3d_is_refused():
    with pytest.raises(ValueError, match=r"data\.name=fake: choose from toy, realistic, real"):
        MPI3D("data", name="fake")


def test_pickle_in_dsprites_is_not_read(tmp_path, monkeypatch):
    write_dsprites(tmp_path, monkeypatch)
    monkeypatch.setattr("pickle.load", pytest.fail)
    monkeypatch.setattr("pickle.loads", pytest.fail)
    load_set(DSprites, tmp_path)


def test_array_is_read_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(factor_images, "CHUNK_IMAGES", 100)
    np.savez_compressed(tmp_path / "x.npz", imgs=np.zeros((20_000, 32, 32), np.uint8))
    tracemalloc.start()
    count = sum(len(rows) for rows in read_npz_rows(tmp_path / "x.npz", "imgs"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 4_000_000  # of 20 MB


@pytest.mark.parametrize(
    "arrays",
    [{"x": np.zeros((9, 2), np.uint8)}, {"imgs": np.zeros((9, 2))}, {"imgs": np.array([{}])}],
)
def test_npz_file_of_another_content_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=r"x\.npz cannot be read \(.*\): replace it"):
        list(read_npz_rows(tmp_path / "x.npz", "imgs"))


def test_cars_are_read_from_the_archive_too(tmp_path, monkeypatch):
    files, images, _ = make_cars()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for number in (2, 0, 1):  # sorted by name when they are read
            member = tarfile.TarInfo(f"data/cars/car_{number:03d}_mesh.mat")
            member.size = len(files[number])
            archive.addfile(member, io.BytesIO(files[number]))
    md5 = write_file(tmp_path / "cars3d" / ARCHIVE, content.getvalue())
    monkeypatch.setattr(Cars3D, "md5", md5)
    read = np.concatenate(list(Cars3D(str(tmp_path)).read_chunks()))
    assert (read == images).all()


def test_instances_of_small_norb_are_split_as_published(tmp_path, monkeypatch):
    write_smallnorb(tmp_path, monkeypatch, compress=True)
    data = load_set(SmallNORB, tmp_path)
    instances = {name: set(data.splits[name].labels[:, 1].tolist()) for name in SPLITS}
    assert instances == {"train": {4, 6}, "val": {4, 6}, "test": {0, 1}}
    assert len(data.splits["test"].images) == 48
    assert data.splits["test"].labels[:, 3].unique().tolist() == [0, 1]


@pytest.mark.parametrize("validation", [-0.1, 1])
def test_validation_of_small_norb_is_a_fraction(validation):
    with pytest.raises(ValueError, match=rf"data\.validation={validation} is a fraction"):
        SmallNORB("data", validation=validation)


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"\x54\x4c\x3d\x1e\x01\x00\x00\x00\x05"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_matrix_is_named(tmp_path, content, suffix):
    path = tmp_path / f"x.mat{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read \(.*\): replace it"):
        list(read_matrix(path, np.dtype("<i4")))
