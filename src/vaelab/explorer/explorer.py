"""Questions to a trained model, one image at a time: `Explorer.open("runs/<run>")`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from vaelab.data.image_file import read_image
from vaelab.distributions.codebook import codes_constraint as codebook_codes
from vaelab.distributions.codebook import nearest_code
from vaelab.distributions.sphere import sphere
from vaelab.estimators.importance import importance_bound
from vaelab.explorer.dials import Dial, dials, has_directions
from vaelab.explorer.ink import EDGE, as_mnist
from vaelab.explorer.plane import LatentPlane
from vaelab.inference.batches import mode_or_mean
from vaelab.inference.calibration import mean_calibration_error
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.objectives.base import closed_form_kl, sample_prior
from vaelab.runs import untrusted
from vaelab.runs.provenance import read_choices
from vaelab.runs.run import Run
from vaelab.runtime.seeding import Stream, seeded_noise
from vaelab.vae import VAE

KNOWN = 2000  # test images whose codes make the map and the reach of the dials
AT_ONCE = 250
DRAWS = 16  # of q(z|x), for the terms of one image
SAMPLES = 64  # of its bound on log p(x)
INSTEAD = "choose a PNG or JPEG"


class Explorer:
    """A run that answers for images x (C, H, W), codes z (D,) and labels y (labels,).

    y is one-hot or attributes, and (0,) where the model has no use for it.

    Attributes:
        name: Of the run.
        numbers: Its metrics.json, empty if there is none.
        chosen: The option taken from each config group.
        indices: Of the test images whose `codes` (N, D) are known, a range from 0.
        dials: What the sliders turn, the most active first; empty for codes of a codebook.
        plane: The map of the codes, None where codes are no numbers or only one.
    """

    def __init__(
        self,
        run: Run,
        name: str = "run",
        numbers: dict[str, Any] | None = None,
        chosen: dict[str, str] | None = None,
    ):
        shape = run.data.shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(
                f"{name} is a run on tables or on pictures that are neither grey nor RGB, of shape "
                f"{list(shape)}: the explorer shows pictures"
            )
        self.run, self.name = run, name
        self.numbers, self.chosen = numbers or {}, chosen or {}
        self.device = next(run.vae.parameters()).device
        self.range = run.data.range
        run.vae.eval()
        if run.vae.likelihood.calibrated:
            with torch.no_grad():
                run.vae.likelihood.calibrate(
                    mean_calibration_error(run.vae, run.data, run.cfg.seed)
                )
        self.indices = range(min(KNOWN, len(run.data.splits["test"].images)))
        self.codes, kl = self._known()
        if not torch.isfinite(self.codes).all():
            raise ValueError(f"{name} gives codes that are not finite: its training has diverged")
        self.dials: list[Dial] = dials(run.vae, self.codes, kl)
        mapped = has_directions(run.vae) and run.vae.latent_dim > 1
        self.plane = LatentPlane.of(self.codes) if mapped else None

    @classmethod
    def open(
        cls, folder: str | Path, checkpoint: str = "best", data: DictConfig | None = None
    ) -> Self:
        """A finished run, on the GPU if there is one, and the images of a data set."""
        run, folder = Run.open(folder, checkpoint, ready=data is None), Path(folder)
        if data is not None:
            run.replace_data(data)
        run.module.to("cuda" if torch.cuda.is_available() else "cpu")
        numbers = untrusted.read_numbers(folder / "metrics.json")
        return cls(run, folder.resolve().name, numbers, read_choices(folder))

    @property
    def vae(self) -> VAE:
        return self.run.vae

    @property
    def data(self) -> tuple[str, ...]:
        """The same for runs with the same test images, which may read their pixels otherwise."""
        settings = self.run.cfg.data
        named = [
            f"{key} {settings.get(key)}" for key in ("_target_", "shape", "root", "path", "crop")
        ]
        return (*named, str(len(self.run.data.splits["test"].images)))

    @property
    def random(self) -> bool:
        """Whether there is a p(z) to draw from."""
        return self.vae.posterior.density

    @property
    def names(self) -> list[str]:
        """Of the labels that a conditional model can be given; none for others."""
        vae: Any = self.vae
        if not vae.conditional:
            return []
        numbered = [str(each) for each in range(vae.labels)]
        return list(getattr(self.run.data, "attributes", ()) or numbered)

    @property
    def attributes(self) -> bool:
        """Whether an image has any number of labels."""
        return self.run.data.splits["test"].labels.ndim > 1

    def label(self, names: Sequence[str]) -> Tensor:
        """y of the names that are true, one of them where labels are classes."""
        known = self.names
        if not known:
            return torch.zeros(0)
        if not self.attributes and len(names) != 1:
            raise ValueError(f"choose one label of {', '.join(known)}")
        return torch.tensor([float(name in names) for name in known])

    def label_of(self, index: int) -> Tensor:
        """y of a test image."""
        y = self.run.data.splits["test"].labels[index]
        if not self.vae.conditional:
            return torch.zeros(0)
        return (y if y.ndim else one_hot(y, len(self.names))).float()

    def image(self, index: int) -> Tensor:
        """x of a test image, as evaluation sees it."""
        return self._prepared(self.run.data.splits["test"].images[index])

    def read(self, content: bytes, name: str = "it") -> Tensor:
        """x of a picture file of any kind, cropped and resized to the shape of the data.

        What cannot be read, or has too many pixels to be safe, is a ValueError in one line.
        """
        crop = getattr(self.run.data, "crop", None)
        pixels = read_image(name, lambda _: content, self.run.data.shape, crop, INSTEAD)
        return self._seen(pixels)

    def read_drawing(self, content: bytes) -> Tensor:
        """x of light ink on black; for grey 28x28 data it is centred and scaled as MNIST's are."""
        if self.run.data.shape != (1, EDGE, EDGE):
            return self.read(content, "the drawing")
        square = (1, 10 * EDGE, 10 * EDGE)
        ink = read_image("the drawing", lambda _: content, square, None, INSTEAD)
        file = io.BytesIO()
        as_mnist(Image.fromarray(ink[0].numpy())).save(file, "png")
        return self.read(file.getvalue())

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor) -> Tensor:
        """The likeliest code of an image."""
        with seeded_noise(Stream.PICTURES):
            q = self._given(y).encode(x.unsqueeze(0).to(self.device))
            return mode_or_mean(q)[0].cpu()

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """The mean of p(x|z), in [0, 1] to be shown."""
        z = self._on_support(z).unsqueeze(0).to(self.device)
        return self.shown(self._given(y).decode(z).mean[0])

    def shown(self, x: Tensor) -> Tensor:
        """An image with its pixels brought from the range of the data to [0, 1]."""
        low, high = self.range
        return ((x.float().cpu() - low) / max(high - low, 1e-12)).nan_to_num(0.5).clamp(0, 1)

    @torch.no_grad()
    def terms(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Of one image in nats: the terms of its ELBO, means of 16 draws, and its NLL.

        As in `evaluate`, what has no meaning for the model is absent. The noise is always the same.
        """
        model, x = self._given(y), x.to(self.device)
        with seeded_noise(Stream.EVALUATION, self.run.cfg.seed):
            terms = sample_elbo_terms(model, x.expand(DRAWS, *x.shape)).terms
            found = {name: term.mean() for name, term in terms.items()}
            if self.random and model.likelihood.measure(self.run.data.pixels) != "grey":
                samples = SAMPLES if model.posterior.random else 1
                found["nll"] = -importance_bound(model, x.unsqueeze(0), samples)[0]
            mean = model.decode(mode_or_mean(model.encode(x.unsqueeze(0)))).mean[0]
        found["rmse"] = (mean - x).square().mean().sqrt()
        return {name: value.item() for name, value in found.items()}

    def walk(
        self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], share: float
    ) -> tuple[Tensor, Tensor]:
        """z and y at a share of the straight way from one (z, y) to another."""
        z, y = (a + share * (b - a) for a, b in zip(first, second, strict=True))
        return self._on_support(z), y

    @torch.no_grad()
    def draw(self, y: Tensor, seed: int) -> Tensor:
        """A code from p(z)."""
        with seeded_noise(Stream.SAMPLES, seed):
            return sample_prior(self._given(y).latents(), 1)[0].cpu()

    @property
    def middle(self) -> Tensor:
        """The code that sliders start from without an image: 0 where that is one."""
        if self.vae.layered:
            return self.vae.latents().mode.detach().cpu().reshape(-1)
        if self.random and has_directions(self.vae) and self.vae.posterior.support is not sphere:
            return torch.zeros(self.vae.latent_dim)
        return self._on_support(self.codes.mean(0))

    def _known(self) -> tuple[Tensor, Tensor | None]:
        """The codes of the first test images, and their mean KL by dimension or variable."""
        found, divergences = [], []
        images, labels = self.run.data.splits["test"]
        for some in torch.tensor(self.indices).split(AT_ONCE):
            with torch.no_grad(), seeded_noise(Stream.PICTURES):
                model = self.vae.condition_on(labels[some].to(self.device))
                q = model.encode(self.run.data.prepare(images[some].to(self.device)))
                found.append(mode_or_mean(q).cpu())
                kl = closed_form_kl(q, model.latents()) if self.random else None
            if kl is not None:
                divergences.append(kl.cpu())
        kl = torch.cat(divergences).mean(0) if divergences else None
        return torch.cat(found), kl

    def _given(self, y: Tensor) -> VAE:
        return self.vae.condition_on(y.unsqueeze(0).to(self.device))

    def _prepared(self, stored: Tensor) -> Tensor:
        return self.run.data.prepare(stored.unsqueeze(0))[0]

    def _seen(self, pixels: Tensor) -> Tensor:
        """uint8 pixels of a foreign picture as the kind of pixels that the model was trained on."""
        kind = self.run.data.pixels
        if kind == "binary":
            return (pixels > 127).float()
        if kind == "real":
            low, high = self.range
            return low + (high - low) * pixels / 255
        return self._prepared(pixels)

    def _on_support(self, z: Tensor) -> Tensor:
        """The code next to z that the posterior could have given, of one-hot codes any mixture."""
        posterior: Any = self.vae.posterior
        if posterior.support is sphere:
            return normalize(z, dim=-1)
        if posterior.support is codebook_codes:
            codebook = posterior.codebook.cpu()
            return codebook[nearest_code(z.unflatten(-1, (-1, posterior.dim)), codebook)].flatten(
                -2
            )
        return z
