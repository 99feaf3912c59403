"""`vaelab.Run`: a trained model, and what one does with it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaelab.api.data import name_test_rows
from vaelab.cli.evaluate_folder import evaluate_opened_run
from vaelab.cli.overrides import compose_checked
from vaelab.data.arrays import make_similar_data
from vaelab.data.base import DataModule
from vaelab.distributions.point_estimates import mean_at_total, mode_or_mean
from vaelab.evaluation.likelihood import collect_likelihood_terms
from vaelab.evaluation.parts import DEFAULT_PARTS
from vaelab.figures.run_figures import draw_all_figures
from vaelab.inference.batches import EvaluationBatch, PerImage, collect_per_image
from vaelab.inference.calibration import compute_mean_error_statistic
from vaelab.inference.elbo_terms import sample_elbo_terms
from vaelab.inference.imputation import impute_split
from vaelab.inference.sampling import sample_images
from vaelab.module import VAEModule
from vaelab.report.write import write_report
from vaelab.runs import weights
from vaelab.runs.config_check import check_samples
from vaelab.runs.history import MetricCurve, read_metric_curves
from vaelab.runs.metrics_file import RunMetrics, read_run_metrics
from vaelab.runs.run import RunParts
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import UserError
from vaelab.samplers.base import Sampler
from vaelab.vae import VAE


def load(
    path: str | Path,
    checkpoint: str = "best",
    trust: Iterable[str] = (),
    vae: VAE | None = None,
) -> "Run":
    """Open a run folder, or a file of weights.

    Arguments:
        path: A run folder, a model.safetensors, or the folder of a model.safetensors.
        checkpoint: best or last.
        trust: Names of own packages whose classes and functions the run may use, besides those of
            VAELAB_TRUST. Opening a run calls them.
        vae: The model of a run whose parts were objects, built as before the training; its weights
            are replaced by those of the run.

    Raises:
        MissingFileError: If there is no run.
        UserError: If the run is damaged, needs `vae`, or names classes that are not trusted.
    """
    parts = RunParts.open(path, checkpoint, with_data=False, trust=trust, vae=vae)
    return Run(parts, Path(path), checkpoint)


class Run:
    """A run: its model, its data, its numbers, and what one does with them.

    Methods that take x expect rows of the kind that the model was trained on: x (N, *shape) as an
    array, a tensor, or whatever `make_data` takes. Without x they take a split of the run's data.
    They return tensors on the CPU, in the order of the rows. Their noise depends on the seed of the
    run only.

    Attributes:
        folder: The run folder.
    """

    def __init__(self, parts: RunParts, folder: Path, checkpoint: str = "best"):
        self._parts = parts
        self._path = folder
        self._checkpoint = checkpoint
        self.folder = weights.results_folder(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def vae(self) -> VAE:
        """The model, with the weights of the opened checkpoint."""
        return self._parts.vae

    @property
    def module(self) -> VAEModule:
        """The LightningModule that trained the model."""
        return self._parts.module

    @property
    def data(self) -> DataModule:
        """The data set, which is read when it is first used.

        Raises:
            MissingFileError: If its files are missing.
        """
        self._parts.load_data()
        return self._parts.data

    @property
    def metrics(self) -> RunMetrics:
        """The numbers at the end of the training, such as elbo, nll and kl in nats per image."""
        return read_run_metrics(self.folder / "metrics.json")

    @property
    def history(self) -> dict[str, MetricCurve]:
        """The curves of metrics.csv by name, such as val/elbo; each has steps and values."""
        return read_metric_curves(self.folder / "metrics.csv")

    def encode(self, x: Any = None, y: Any = None, split: str = "test") -> Tensor:
        """Return the latents of x (N, latent_dim): the mode of q(z|x), for a normal its mean.

        A q(z|x) without a mode gives its mean, if necessary an estimate of it.
        """

        def compute(batch: EvaluationBatch) -> PerImage:
            return {"z": mode_or_mean(batch.model.encode(batch.x))}

        return self._compute(compute, x, y, split)["z"]

    def reconstruct(self, x: Any = None, y: Any = None, split: str = "test") -> Tensor:
        """Return the mean of p(x|z) (N, *shape) for the latents of `encode`."""

        def compute(batch: EvaluationBatch) -> PerImage:
            p = batch.model.decode(mode_or_mean(batch.model.encode(batch.x)))
            return {"x": self.vae.to_data_units(mean_at_total(p, batch.x))}

        return self._compute(compute, x, y, split)["x"]

    def elbo(self, x: Any = None, y: Any = None, split: str = "test") -> Tensor:
        """Return the ELBO (N,) in nats, estimated with one sample of q(z|x) per row.

        Raises:
            UserError: If q(z|x) has no density.
        """
        self._check_density()
        return self._compute(lambda batch: sample_elbo_terms(*batch[:2]).terms, x, y, split)["elbo"]

    def nll(self, x: Any = None, y: Any = None, split: str = "test", samples: int = 100) -> Tensor:
        """Return an upper bound on -log p(x) (N,) in nats.

            -log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x),    z_k ~ q(z|x)

        Arguments:
            samples: K; larger is tighter and slower.

        Raises:
            UserError: If q(z|x) has no density, or p(x|z) is no likelihood of such values.

        Reference: Importance Weighted Autoencoders (Burda et al., 2016), equation 8,
            arXiv:1509.00519
        """
        self._check_density()
        check_samples(samples)
        samples = samples if self.vae.posterior.is_random else 1
        data = self._prepare(x, y)
        split = split if x is None else "test"
        terms = collect_likelihood_terms(self.vae, data, split, samples, self._parts.cfg.seed)
        if "nll" not in terms:
            raise UserError(
                "loss=bce on grayscale pixels is no likelihood and has no NLL: make the data with "
                'binarize="dynamic", or train with loss="gaussian"'
            )
        return terms["nll"]

    def impute(
        self,
        x: Any = None,
        y: Any = None,
        split: str = "test",
        samples: int = 0,
        proposals: int = 100,
    ) -> Tensor:
        """Return x with its missing values (NaN) filled in.

            E[x_mis | x_obs] = sum_k w_k E[x_mis | z_k] / sum_k w_k,    z_k ~ q(z | x_obs),
            w_k = p(x_obs | z_k) p(z_k) / q(z_k | x_obs)

        It also works for models of complete data, whose encoder then gets 0 for missing values.

        Arguments:
            samples: 0 for the expected values (N, *shape), else the number K of samples of
                p(x_mis | x_obs) for each row, (N, K, *shape).
            proposals: The number of importance samples z_k; larger is more accurate and slower.

        Raises:
            UserError: If q(z|x) has no density.

        Reference: MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets (Mattei
            and Frellsen, 2019), section 3, arXiv:1812.02633
        """
        check_samples(proposals)
        data = self._prepare(x, y, allow_missing=True)
        split = split if x is None else "test"
        seed = self._parts.cfg.seed
        imputed = impute_split(self.vae, data, split, proposals, samples, seed)
        return self.vae.to_data_units(imputed.samples if samples else imputed.x)

    def sample(
        self,
        n: int = 64,
        label: int | Sequence[str] | Tensor | None = None,
        *,
        sampler: str | Sampler = "prior",
        draw: bool = False,
        seed: int = 0,
    ) -> Tensor:
        """Generate n images (n, *shape): the means of p(x|z), or samples of p(x|z).

        Arguments:
            label: A class, or labels (n, ...), for conditional models and for prior.classes.
            sampler: What samples z: the words of an option of conf/sampler, or a Sampler.
            draw: True for samples of p(x|z).
            seed: The seed of the images.
        """
        used: Any = sampler
        if isinstance(sampler, str):
            words = f"sampler={sampler}".split()
            used = build_from_config(compose_checked("sample", words).sampler)
        needs_calibration = draw and self.vae.likelihood.needs_calibration
        needs_data = used.needs_fit or self.vae.samples_take_labels or needs_calibration
        data = self.data if needs_data else self._parts.data
        x = sample_images(self.vae, data, used, n, label, seed, draw).x
        return self.vae.to_data_units(x)

    def evaluate(self, parts: Iterable[str] = DEFAULT_PARTS, **settings: Any) -> dict[str, Any]:
        """Compute the numbers of `vaelab evaluate`, and write them to <run>/evaluation.

        Arguments:
            parts: The names of the parts of the evaluation.
            settings: split, samples, images, sampler, features and precision, see
                `vaelab.cli.evaluate_folder.evaluate_opened_run`.
        """
        self._parts.load_data()
        return evaluate_opened_run(self._parts, self._path, parts, self._checkpoint, **settings)

    def report(self, language: str | None = None) -> Path:
        """Write report.html, and return its path.

        Arguments:
            language: Of the page, en or zh; None means that of VAELAB_LANGUAGE.
        """
        return write_report(self.folder, language)

    def figures(self, only: Sequence[str] | None = None, format: str = "png") -> dict[str, Path]:
        """Draw the figures to <run>/figures, and return their paths by name.

        Arguments:
            only: The names of some figures; None draws all that apply.
            format: png, svg or pdf.
        """
        self._parts.load_data()
        return draw_all_figures(self._parts, self.folder, only, format)

    def export(self, folder: str | Path | None = None) -> list[Path]:
        """Write encoder.onnx, decoder.onnx, model.safetensors and README.md.

        Arguments:
            folder: Where to write; None is <run>/export.
        """
        from vaelab.inference.export import export_model
        from vaelab.runtime.errors import check_extra_installed

        check_extra_installed("export", "onnx", "onnxscript", "onnxruntime")
        return export_model(self._parts, Path(folder or self.folder / "export"), self.metrics)

    def save(self, path: str | Path) -> None:
        """Write the weights with the config as a safetensors file, which `load` opens."""
        self._parts.save(Path(path))

    def _check_density(self) -> None:
        if not self.vae.posterior.has_density:
            name = type(self.vae.posterior).__name__
            raise UserError(f"the posterior {name} has no density, so there is no ELBO and no NLL")

    def _rows(self, x: Any, y: Any, allow_missing: bool = False) -> DataModule:
        """Return the data of the run, or x and y as a data set of the same kind, all in test."""
        if x is None:
            return self.data
        missing = "mask" if allow_missing or self.vae.missing else "refuse"
        rows = make_similar_data(self._parts.data, name_test_rows(x, y), "x", missing)
        self.vae.likelihood.check_pixels(*rows.range, rows.pixels, rows.column_kinds)
        return rows

    def _prepare(self, x: Any, y: Any, allow_missing: bool = False) -> DataModule:
        """Return the data to compute on, after the calibration that an evaluation needs."""
        if self.vae.likelihood.needs_calibration:
            statistic = compute_mean_error_statistic(self.vae, self.data, self._parts.cfg.seed)
            self.vae.likelihood.calibrate(statistic)
        return self._rows(x, y, allow_missing)

    def _compute(
        self, compute: Callable[[EvaluationBatch], PerImage], x: Any, y: Any, split: str
    ) -> PerImage:
        """Apply `compute` to the batches of x, or of a split of the run's data."""
        data, split = self._prepare(x, y), split if x is None else "test"
        return collect_per_image(self.vae, data, split, compute, self._parts.cfg.seed)
