"""Small files in the formats of published data sets, with random content."""

import bz2
import gzip
import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from vaelab.data.dsprites import FILE_NAME, DSprites
from vaelab.data.mpi3d import MPI3D
from vaelab.data.omniglot import Omniglot
from vaelab.data.omniglot_chardata import OmniglotChardata
from vaelab.data.shapes3d import Shapes3D
from vaelab.data.smallnorb import PREFIXES, SmallNORB
from vaelab.data.static_mnist import StaticMNIST


def make_pixels(*shape, seed=0, high=256):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8)


def write_file(path, content):
    """Write a file and return its MD5 hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def write_cifar10(root, patch, source=datasets.CIFAR10, labels="labels"):
    """Return the images (N, 3, 32, 32) of the training and the test files."""
    written = {"train": [], "test": []}
    for part in written:
        files = []
        for number, (name, _) in enumerate(getattr(source, f"{part}_list")):
            images = make_pixels(8, 3072, seed=number + 10 * (part == "test"))
            batch = {"data": images, labels: [i % 10 for i in range(8)], "batch_label": name}
            path = Path(root, source.base_folder, name)
            files.append([name, write_file(path, pickle.dumps(batch, 2))])
            written[part].append(images.reshape(-1, 3, 32, 32))
        patch.setattr(source, f"{part}_list", files)
    names = {source.meta["key"]: [f"class {i}" for i in range(10)]}
    path = Path(root, source.base_folder, source.meta["filename"])
    md5 = write_file(path, pickle.dumps(names, 2))
    patch.setattr(source, "meta", {**source.meta, "md5": md5})
    return [np.concatenate(parts) for parts in written.values()]


def write_cifar100(root, patch):
    return write_cifar10(root, patch, datasets.CIFAR100, "fine_labels")


def write_svhn(root, patch):
    written, files = [], dict(datasets.SVHN.split_list)
    for part, count in (("train", 30), ("test", 10)):
        images = make_pixels(count, 3, 32, 32, seed=count)
        content = io.BytesIO()
        digits = np.arange(1, count + 1)[:, None] % 10
        y = np.where(digits == 0, 10, digits).astype(np.uint8)  # 10 stands for the digit 0
        savemat(content, {"X": images.transpose(2, 3, 1, 0), "y": y})
        url, name, _ = files[part]
        files[part] = [url, name, write_file(Path(root, "SVHN", name), content.getvalue())]
        written.append(images)
    patch.setattr(datasets.SVHN, "split_list", files)
    return written


def write_usps(root, patch):
    written, files = [], dict(datasets.USPS.split_list)
    for part, count in (("train", 30), ("test", 10)):
        images = make_pixels(count, 1, 16, 16, seed=count)
        lines = [
            " ".join(
                [f"{i % 10 + 1}", *(f"{n + 1}:{v / 127.5 - 1 + 1e-4:.6f}" for n, v in enumerate(x))]
            )
            for i, x in enumerate(images.reshape(count, 256))
        ]
        url, name, _ = files[part]
        content = bz2.compress("\n".join(lines).encode())
        files[part] = [url, name, write_file(Path(root, "USPS", name), content)]
        written.append(images)
    patch.setattr(datasets.USPS, "split_list", files)
    return written


def make_idx(array):
    header = struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape)
    return header + array.tobytes()


def write_kmnist(root, patch, suffix=""):
    """Write the files of KMNIST; with suffix ".gz" compressed, as they are published."""
    written, resources = [], []
    for part, count in (("train", 30), ("t10k", 10)):
        images = make_pixels(count, 1, 28, 28, seed=count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images[:, 0]), ("labels-idx1", labels)):
            name, content = f"{part}-{kind}-ubyte", make_idx(array)
            content = gzip.compress(content) if suffix else content
            md5 = write_file(Path(root, "KMNIST/raw", f"{name}{suffix}"), content)
            resources.append((f"{name}.gz", md5))
        written.append(images)
    if suffix:
        patch.setattr(datasets.KMNIST, "resources", resources)
    return written


def write_emnist(root, patch, split="balanced"):
    written = []
    for part, count in (("train", 30), ("test", 10)):
        images = make_pixels(count, 1, 28, 28, seed=count)
        labels = (np.arange(count) % 10 + (split == "letters")).astype(np.uint8)
        transposed = np.ascontiguousarray(images[:, 0].swapaxes(1, 2))
        for kind, array in (("images-idx3", transposed), ("labels-idx1", labels)):
            path = Path(root, "EMNIST/raw", f"emnist-{split}-{part}-{kind}-ubyte")
            write_file(path, make_idx(array))
        written.append(images)
    return written


def write_static_mnist(root, patch, compress=False, end=" \n"):
    """Return the bits (N, 784) of the three splits."""
    written, hashes = {}, {}
    for name, count in (("train", 30), ("val", 10), ("test", 10)):
        bits = make_pixels(count, 784, seed=count, high=2)
        text = "".join(" ".join(map(str, row)) + end for row in bits.tolist()).encode()
        file = f"binarized_mnist_{'valid' if name == 'val' else name}.amat"
        path = Path(root, "static_mnist", f"{file}.gz" if compress else file)
        write_file(path, gzip.compress(text) if compress else text)
        written[name] = bits
        hashes[name] = hashlib.sha256(np.packbits(bits, axis=1).tobytes()).hexdigest()
    patch.setattr(StaticMNIST, "sha256", hashes)
    return written


def write_drawings(root, patch, name, alphabets):
    """Write an archive of Omniglot with two characters of each alphabet."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for alphabet in alphabets:
            for character in (1, 2):
                for drawing in range(1, 21):
                    seed = zlib.crc32(f"{alphabet} {character} {drawing}".encode()) % 10_000
                    paper = make_pixels(105, 105, seed=seed, high=2).astype(bool)
                    file = io.BytesIO()
                    Image.fromarray(paper).save(file, "PNG")
                    member = (
                        f"{name}/{alphabet}/character{character:02d}/{seed:04d}_{drawing:02d}.png"
                    )
                    archive.writestr(member, file.getvalue())
    md5 = write_file(Path(root, "omniglot", f"{name}.zip"), content.getvalue())
    patch.setitem(Omniglot.md5, name, md5)


def write_omniglot(root, patch):
    write_drawings(root, patch, "images_background", ["Greek", "Latin"])
    write_drawings(root, patch, "images_evaluation", ["Tibetan"])


def write_omniglot_chardata(root, patch):
    """Return the images (N, 28, 28) of the training and test drawings."""
    train, test = (np.random.default_rng(n).random((n, 28, 28)) for n in (30, 10))
    arrays = {}
    for prefix, images in (("", train), ("test", test)):
        arrays[f"{prefix}data"] = images.swapaxes(1, 2).reshape(len(images), 784).T
        arrays[f"{prefix}target"] = np.eye(50)[np.arange(len(images)) % 50].T
    content = io.BytesIO()
    savemat(content, arrays)
    md5 = write_file(Path(root, "omniglot/chardata.mat"), content.getvalue())
    patch.setattr(OmniglotChardata, "md5", md5)
    return train, test


def make_grid(sizes):
    return np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), 1)


def write_dsprites(root, patch):
    """Return the images (N, C, H, W), 0 to 255, and the factors (N, K), as all writers below."""
    factors = make_grid((3, 2, 2, 2, 2))
    images = make_pixels(len(factors), 64, 64, high=2)
    classes = np.concatenate([np.zeros((len(factors), 1), int), factors], 1)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        metadata=np.array({"title": "a pickle"}, object),
        imgs=images,
        latents_classes=classes,
        latents_values=classes / 2,
    )
    patch.setattr(
        DSprites, "md5", write_file(Path(root, "dsprites", FILE_NAME), content.getvalue())
    )
    return images[:, None] * 255, factors


def write_shapes3d(root, patch):
    import h5py

    factors = make_grid((2, 2, 2, 2, 3, 1))
    images = make_pixels(len(factors), 64, 64, 3)
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["images"], file["labels"] = images, factors / 10 - 0.3
    md5 = write_file(Path(root, "3dshapes/3dshapes.h5"), content.getvalue())
    patch.setattr(Shapes3D, "md5", md5)
    return images.transpose(0, 3, 1, 2), factors


def write_mpi3d(root, patch):
    patch.setattr(MPI3D, "sizes", (2, 2, 2, 1, 1, 3, 2))
    factors = make_grid(MPI3D.sizes)
    images = make_pixels(len(factors), 64, 64, 3)
    content = io.BytesIO()
    np.savez(content, images=images)
    md5 = write_file(Path(root, "mpi3d/mpi3d_toy.npz"), content.getvalue())
    patch.setitem(MPI3D.md5, "toy", md5)
    return images.transpose(0, 3, 1, 2), factors


def make_cars():
    """Return the content of the files of three cars, and what `write_dsprites` returns."""
    factors = make_grid((3, 24, 4))
    images = make_pixels(len(factors), 3, 128, 128)
    files = []
    for car in range(3):
        views = images[factors[:, 0] == car].reshape(24, 4, 3, 128, 128)
        content = io.BytesIO()
        savemat(content, {"im": views.transpose(3, 4, 2, 0, 1), "mask": np.zeros((2, 2))})
        files.append(content.getvalue())
    return files, images, factors


def write_cars3d(root, patch):
    files, images, factors = make_cars()
    for number, content in enumerate(files):
        write_file(Path(root, f"cars3d/cars/car_{number:03d}_mesh.mat"), content)
    return images, factors


def make_norb_matrix(array):
    magic = 0x1E3D4C55 if array.dtype == np.uint8 else 0x1E3D4C54
    sizes = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<{2 + len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


def write_smallnorb(root, patch, compress=False):
    written, hashes = [], {}
    for part, instances in (("training", (4, 6)), ("testing", (0, 1))):
        grid = make_grid((2, 2, 3, 2, 2))
        factors = np.concatenate([grid[:, :1], np.take(instances, grid[:, 1:2]), grid[:, 2:]], 1)
        images = make_pixels(len(factors), 2, 96, 96, seed=instances[0])
        info = factors[:, 1:] * [1, 1, 2, 1]  # azimuths are 0, 2, 4, ...
        matrices = {"dat": images, "cat": factors[:, 0].astype("<i4"), "info": info.astype("<i4")}
        for kind, matrix in matrices.items():
            content = make_norb_matrix(matrix)
            name = f"{PREFIXES[part]}-{kind}.mat" + ".gz" * compress
            content = gzip.compress(content) if compress else content
            hashes[f"{part}-{kind}"] = write_file(Path(root, "smallnorb", name), content)
        written.append((images[:, :1], factors))
    patch.setattr(SmallNORB, "md5", hashes)
    images, factors = zip(*written, strict=True)
    return np.concatenate(images), np.concatenate(factors)


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "kmnist": write_kmnist,
    "emnist": write_emnist,
    "usps": write_usps,
    "static_mnist": write_static_mnist,
    "omniglot": write_omniglot,
    "omniglot_chardata": write_omniglot_chardata,
    "dsprites": write_dsprites,
    "shapes3d": write_shapes3d,
    "mpi3d": write_mpi3d,
    "cars3d": write_cars3d,
    "smallnorb": write_smallnorb,
}
