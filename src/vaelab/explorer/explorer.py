"""Ask a trained model about one image at a time: `Explorer.open("runs/<run>")`."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from vaelab.data.image_file import DEFAULT_CONVERSION, read_image
from vaelab.data.image_folder import ImageFolder
from vaelab.distributions.codebook import (
    codebook_constraint,
    indices_to_latents,
    latents_to_indices,
)
from vaelab.distributions.point_estimates import mean_at_total, mode_or_mean
from vaelab.distributions.sphere import sphere_constraint
from vaelab.estimators.importance import importance_bound
from vaelab.explorer.controls import LatentControl, has_vector_latents, make_controls
from vaelab.explorer.ink import IMAGE_SIZE, format_as_mnist
from vaelab.explorer.plane import LatentPlane
from vaelab.explorer.subset import are_classes, choose_test_images, order_test_images
from vaelab.figures.compute.base import (
    FigureNotApplicable,
    check_displayable,
    to_data_units,
    to_display_images,
)
from vaelab.figures.compute.columns import MAX_LISTED, TableVariable, choose_variables
from vaelab.figures.draw.data_tiles import ROW_SIZE, draw_rows
from vaelab.inference.calibration import compute_mean_error_statistic
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.objectives.base import closed_form_kl, sample_prior
from vaelab.runs import untrusted
from vaelab.runs.jobs import name_run
from vaelab.runs.provenance import read_choices
from vaelab.runs.run import RunParts
from vaelab.runtime.errors import UserError
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

MAX_TEST_IMAGES = 2000  # test images whose latents define the map and the range of the sliders
TILES_PER_PAGE = 30  # test images that are shown at once
BATCH_SIZE = 250
ELBO_SAMPLES = 16  # samples of q(z|x) for the ELBO terms of one image
NLL_SAMPLES = 64  # samples of q(z|x) for the bound on log p(x)
FILE_ADVICE = "choose a PNG or JPEG"

NOISE_LOCK = threading.Lock()  # all threads share torch's random state


@contextmanager
def _locked_noise(stream: Stream, *numbers: int) -> Iterator[None]:
    """Enter `seeded_noise` while no other thread of the explorer samples."""
    with NOISE_LOCK, seeded_noise(stream, *numbers):
        yield


class Explorer:
    """A trained model with methods for single images x (C, H, W) and latents z (D,).

    Conditional models also take a label y (labels,), which is one-hot or a vector of attributes.
    For other models y has the shape (0,).

    Arguments:
        run: The opened run.
        name: Name of the run, as the page shows it.
        metrics: The metrics of the run; None if there are none.
        choices: The option of each config group; None if unknown.

    Attributes:
        test_indices: The test images with known latents (N,), a random subset of a large split with
            all classes.
        tiles: The test images (N,) in random order, with all classes on each page.
        latents: The latents (N, D) of these test images.
        controls: What the sliders control, the most active first; empty for codebook latents.
        plane: The map of the latents; None for codebook or one-hot latents, or a single latent.

    Raises:
        UserError: If the data cannot be drawn, or the latents are NaN or infinite.
    """

    def __init__(
        self,
        run: RunParts,
        name: str = "run",
        metrics: dict[str, Any] | None = None,
        choices: dict[str, str] | None = None,
    ):
        if len(run.data.shape) > 1:
            try:
                check_displayable(run.data)
            except FigureNotApplicable as reason:
                raise UserError(f"the explorer cannot show the data of {name}: {reason}") from None
        self.run, self.name = run, name
        self.metrics, self.choices = metrics or {}, choices or {}
        self.device = next(run.vae.parameters()).device
        self.range = run.data.data_range
        run.vae.eval()
        if run.vae.likelihood.needs_calibration:
            with torch.no_grad():
                run.vae.likelihood.calibrate(
                    compute_mean_error_statistic(run.vae, run.data, run.cfg.seed)
                )
        labels = run.data.splits["test"].labels
        self.test_indices = choose_test_images(labels, MAX_TEST_IMAGES)
        order = order_test_images(labels[self.test_indices], TILES_PER_PAGE)
        self.tiles = self.test_indices[order]
        self.latents, kl = self._encode_test_images()
        if not torch.isfinite(self.latents).all():
            raise UserError(
                f"the latents of {name} are NaN or infinite, because its training diverged: choose "
                "another run or checkpoint"
            )
        self.controls: list[LatentControl] = make_controls(run.vae, self.latents, kl)
        has_plane = has_vector_latents(run.vae) and run.vae.latent_dim > 1
        self.plane = LatentPlane.from_latents(self.latents) if has_plane else None

    @classmethod
    def open(
        cls, folder: str | Path, checkpoint: str = "best", data: DictConfig | None = None
    ) -> Self:
        """Open a finished run, on the GPU if there is one.

        Arguments:
            folder: Run folder.
            checkpoint: "best" or "last".
            data: Config of a data set that replaces the data set of the run.
        """
        run, folder = RunParts.open(folder, checkpoint, with_data=data is None), Path(folder)
        if data is not None:
            run.replace_data(data)
        run.module.to("cuda" if torch.cuda.is_available() else "cpu")
        metrics = untrusted.read_numbers(folder / "metrics.json")
        return cls(run, name_run(folder.resolve()), metrics, read_choices(folder))

    @property
    def vae(self) -> VAE:
        return self.run.vae

    @property
    def data_identity(self) -> tuple[str, ...]:
        """Settings that are equal for runs with the same test images.

        The runs may preprocess the pixels of these images differently.
        """
        settings = self.run.cfg.data
        keys = ("_target_", "shape", "root", "path", "crop")
        values = [f"{key} {settings.get(key)}" for key in keys]
        return (*values, str(len(self.run.data.splits["test"].images)))

    @property
    def is_image(self) -> bool:
        """True if x is an image, so that it can be drawn by hand or read from a file."""
        return len(self.run.data.shape) == 3

    @cached_property
    def variables(self) -> list[TableVariable]:
        """The listed variables of a table; empty for other data."""
        if len(self.run.data.shape) > 1:
            return []
        return choose_variables(self.run.data, MAX_LISTED)

    @cached_property
    def column_ranges(self) -> Tensor:
        """The ends of the bars of the first columns of a table: quantiles of test rows, (2, D)."""
        rows = self.run.data.splits["test"].images[self.test_indices]
        x = self._scale_columns(self.run.data.prepare(rows))
        return x.nanquantile(torch.tensor([0.01, 0.99]), 0)

    def _scale_columns(self, x: Tensor) -> Tensor:
        """Return the first columns of rows x (*, D) of the model in the units of the data.

        They are on the CPU, counts as log(1 + x).
        """
        x = to_data_units(x, self.run.data)[..., :ROW_SIZE]
        return x.clamp(min=0).log1p() if self.run.data.pixels == "count" else x

    @property
    def has_prior(self) -> bool:
        """True if the model has a prior p(z) that can be sampled."""
        return self.vae.posterior.has_density

    @property
    def label_names(self) -> list[str]:
        """The names of the labels of a conditional model; empty for other models."""
        vae: Any = self.vae
        if not vae.conditional:
            return []
        if self.has_attributes and (attributes := getattr(self.run.data, "attributes", ())):
            return list(attributes)
        return [self.name_class(label) for label in range(vae.labels)]

    @property
    def test_classes(self) -> Tensor | None:
        """The class of each image of `test_indices`, (N,); None if the labels are not classes."""
        labels = self.run.data.splits["test"].labels
        return labels[self.test_indices] if are_classes(labels) else None

    def name_class(self, label: int) -> str:
        """Return the name of a class, or its number if the data set has no names."""
        classes = getattr(self.run.data, "classes", ())
        return classes[label] if 0 <= label < len(classes) else str(label)

    @property
    def has_attributes(self) -> bool:
        """True if an image can have any number of labels, instead of one class."""
        return self.run.data.splits["test"].labels.ndim > 1

    def make_label(self, names: Sequence[str]) -> Tensor:
        """Encode the names of the labels of an image as y (labels,).

        Raises:
            UserError: If the labels are classes and `names` is not exactly one of them.
        """
        known = self.label_names
        if not known:
            return torch.zeros(0)
        if not self.has_attributes and len(names) != 1:
            raise UserError(f"choose one label of {', '.join(known)}, not {len(names)}")
        return torch.tensor([float(name in names) for name in known])

    def test_label(self, index: int) -> Tensor:
        """Return the label y (labels,) of a test image."""
        y = self.run.data.splits["test"].labels[index]
        if not self.vae.conditional:
            return torch.zeros(0)
        return (y if y.ndim else one_hot(y, len(self.label_names))).float()

    def test_image(self, index: int) -> Tensor:
        """Return a test image x (C, H, W), preprocessed as in evaluation."""
        x = self.run.data.splits["test"].images[index].unsqueeze(0)
        return self.run.data.prepare(x, index=torch.tensor([index]))[0]

    def read_image(self, content: bytes, name: str = "the file") -> Tensor:
        """Decode an image file and crop and resize it to the shape of the data, x (C, H, W).

        Arguments:
            content: The bytes of the file, in any image format.
            name: Name of the file in error messages.

        Raises:
            UserError: If the file cannot be decoded, or has too many pixels to be safe.
        """
        data = self.run.data
        crop, conversion = getattr(data, "crop", None), DEFAULT_CONVERSION
        if isinstance(data, ImageFolder):
            conversion = data.conversion._replace(page=0)
        pixels = read_image(name, lambda _: content, data.shape, crop, FILE_ADVICE, conversion)
        return self._preprocess(pixels)

    def read_drawing(self, content: bytes) -> Tensor:
        """Decode a drawing of light ink on black, x (C, H, W).

        For grayscale data of 28x28 pixels the drawing is centred and scaled as in MNIST.

        Raises:
            UserError: If the drawing is empty or cannot be decoded.
        """
        if self.run.data.shape != (1, IMAGE_SIZE, IMAGE_SIZE):
            return self.read_image(content, "the drawing")
        square = (1, 10 * IMAGE_SIZE, 10 * IMAGE_SIZE)
        ink = read_image("the drawing", lambda _: content, square, None, FILE_ADVICE)
        file = io.BytesIO()
        format_as_mnist(Image.fromarray(ink[0].numpy())).save(file, "png")
        return self.read_image(file.getvalue())

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mode of q(z|x), or its mean if the mode is unknown, as z (D,)."""
        with _locked_noise(Stream.PICTURES):
            q = self._condition_on(y).encode(x.unsqueeze(0).to(self.device))
            return mode_or_mean(q)[0].cpu()

    @torch.no_grad()
    def decode_mean(self, z: Tensor, y: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z), (*shape); that of counts has the total of x, if it is given.

        Arguments:
            z: (D,).
            y: Label (labels,).
            x: (*shape).
        """
        z = self._project_to_support(z).unsqueeze(0).to(self.device)
        p = self._condition_on(y).decode(z)
        return (p.mean if x is None else mean_at_total(p, x.unsqueeze(0).to(self.device)))[0]

    def decode(self, z: Tensor, y: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z) as an image (C, H, W) in [0, 1], see `decode_mean`."""
        return self.to_display(self.decode_mean(z, y, x))

    def to_display(self, x: Tensor) -> Tensor:
        """Return x (*shape) of the model as an image (C, H, W) in [0, 1].

        Series become lines, volumes their middle slices, and rows of a table bars.
        """
        if len(self.run.data.shape) == 1:
            low, high = self.column_ranges
            x = self._scale_columns(x)
            return draw_rows(((x - low) / (high - low).clamp(min=1e-12)).unsqueeze(0))[0]
        if not self.is_image:
            drawn = to_display_images(x.unsqueeze(0), self.run.data)[0]
            return drawn.nan_to_num(0.5).clamp(0, 1)
        low, high = self.range
        x = self.vae.to_data_units(x).float().cpu()
        return ((x - low) / max(high - low, 1e-12)).nan_to_num(0.5).clamp(0, 1)

    @torch.no_grad()
    def compute_terms(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Compute the ELBO terms of one image in nats, its NLL, and its RMSE.

        The ELBO terms are means over 16 samples of q(z|x), with the same noise in every call. As
        in an evaluation, terms that are undefined for the model are absent.

        Arguments:
            x: Image (C, H, W).
            y: Label (labels,).
        """
        model, x = self._condition_on(y), x.to(self.device)
        with _locked_noise(Stream.EVALUATION, self.run.cfg.seed):
            samples = sample_elbo_terms(model, x.expand(ELBO_SAMPLES, *x.shape)).terms
            terms = {name: term.mean() for name, term in samples.items()}
            if self.has_prior and model.likelihood.measure(self.run.data.pixels) != "grey":
                count = NLL_SAMPLES if model.posterior.is_random else 1
                terms["nll"] = -importance_bound(model, x.unsqueeze(0), count)[0]
            p = model.decode(mode_or_mean(model.encode(x.unsqueeze(0))))
        terms["rmse"] = (mean_at_total(p, x.unsqueeze(0))[0] - x).square().nanmean().sqrt()
        return {name: value.item() for name, value in terms.items()}

    @torch.no_grad()
    def measure_latents(self, z: Tensor, y: Tensor, x: Tensor | None) -> dict[str, float]:
        """Compute numbers of one latent vector z (D,); those without a definition are absent.

        Arguments:
            y: Label (labels,).
            x: Image (C, H, W) from which the latents were encoded; None if there is none.

        Returns:
            log_prior: log p(z) in nats. With an image also log_posterior: log q(z|x) in nats,
            negative_log_likelihood: -log p(x|z) in nats, pixel_error: the RMSE between x and the
            mean of p(x|z), and distance: the Euclidean distance of z from the encoded x.
        """
        model, z = self._condition_on(y), self._project_to_support(z).unsqueeze(0).to(self.device)
        densities, numbers = {}, {}
        with _locked_noise(Stream.PICTURES):
            if self.has_prior:
                densities["log_prior"] = model.latents()
            if x is not None:
                x = x.unsqueeze(0).to(self.device)
                q, p = model.encode(x), model.decode(z)
                if self.has_prior:
                    densities["log_posterior"] = q
                numbers["negative_log_likelihood"] = -p.log_prob(x)
                numbers["pixel_error"] = (mean_at_total(p, x) - x).square().nanmean().sqrt()
                numbers["distance"] = torch.linalg.vector_norm(z - mode_or_mean(q))
            for name, density in reversed(densities.items()):
                with suppress(NotImplementedError):  # a flow without an inverse
                    numbers = {name: density.log_prob(z)} | numbers
        return {name: value.item() for name, value in numbers.items()}

    def interpolate(
        self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], weight: float
    ) -> tuple[Tensor, Tensor]:
        """Interpolate linearly between two pairs (z, y), and project z to the latent space.

        Arguments:
            first, second: Latents (D,) and labels (labels,).
            weight: Position in [0, 1] on the line from the first to the second.
        """
        z, y = (a + weight * (b - a) for a, b in zip(first, second, strict=True))
        return self._project_to_support(z), y

    @torch.no_grad()
    def sample_latent(self, y: Tensor, seed: int) -> Tensor:
        """Sample a latent vector (D,) from p(z)."""
        with _locked_noise(Stream.SAMPLES, seed):
            return sample_prior(self._condition_on(y).latents(), 1)[0].cpu()

    @property
    def first_test_index(self) -> int:
        """The test image that is selected at the start."""
        return int(self.tiles[0])

    @property
    def central_latent(self) -> Tensor:
        """A typical latent vector (D,): 0, the mode of a hierarchical prior, or the mean."""
        if self.vae.layered:
            return self.vae.latents().mode.detach().cpu().reshape(-1)
        is_sphere = self.vae.posterior.support is sphere_constraint
        if self.has_prior and has_vector_latents(self.vae) and not is_sphere:
            return torch.zeros(self.vae.latent_dim)
        return self._project_to_support(self.latents.mean(0))

    def _encode_test_images(self) -> tuple[Tensor, Tensor | None]:
        """Return the latents (N, D) of `test_indices`, and the mean KL of each dimension.

        The KL is that of each variable for one-hot latents, and None without a closed form.
        """
        latents, divergences = [], []
        images, labels = self.run.data.splits["test"]
        for indices in self.test_indices.split(BATCH_SIZE):
            with torch.no_grad(), _locked_noise(Stream.PICTURES):
                model = self.vae.condition_on(labels[indices].to(self.device))
                x = self.run.data.prepare(images[indices].to(self.device), index=indices)
                q = model.encode(x)
                latents.append(mode_or_mean(q).cpu())
                kl = closed_form_kl(q, model.latents()) if self.has_prior else None
            if kl is not None:
                divergences.append(kl.cpu())
        kl = torch.cat(divergences).mean(0) if divergences else None
        return torch.cat(latents), kl

    def _condition_on(self, y: Tensor) -> VAE:
        return self.vae.condition_on(y.unsqueeze(0).to(self.device))

    def _preprocess(self, pixels: Tensor) -> Tensor:
        """Convert uint8 pixels of an uploaded image to the kind of pixels the model expects."""
        kind = self.run.data.pixels
        if kind == "binary":
            return (pixels > 127).float()
        if kind == "real":
            low, high = self.range
            x = low + (high - low) * pixels / 255
            standardization = self.run.data.standardization
            return x if standardization is None else standardization.apply(x)
        return self.run.data.prepare(pixels.unsqueeze(0))[0]

    def _project_to_support(self, z: Tensor) -> Tensor:
        """Return the point of the sphere or the codebook that is closest to z; else z itself."""
        posterior: Any = self.vae.posterior
        if posterior.support is sphere_constraint:
            return normalize(z, dim=-1)
        if posterior.support is codebook_constraint:
            codebook = posterior.get_codebook().detach().cpu()
            return indices_to_latents(latents_to_indices(z, codebook), codebook)
        return z
