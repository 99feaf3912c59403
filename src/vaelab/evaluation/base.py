"""The contract of a part of an evaluation: a module with `evaluate(run, config)`.

It returns numbers of the split `config.split`, as keys of `EvaluationNumbers` that no other part
has. If the part has no meaning for the model or the data, it raises `NotApplicable` with a reason.
Passes over images use `vaelab.inference.batches`, so the numbers do not depend on the number of
processes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import PriorSampler


class NotApplicable(Exception):
    """A part has no meaning for a run; the message says why, and for which runs it has one."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation measures, and how.

    Attributes:
        split: The split of the data: train, val or test.
        samples: The number of importance samples of the bound on log p(x).
        images: The size of a random subset of the split; None means all.
        calibration_images: The size of a random subset of the training images from which
            loss.scale=optimal computes its scale; None means all.
        seed: The seed of all random numbers; the same for all runs, so that they are compared with
            the same noise.
        sampler: The sampler of the latents of new images, by default p(z).
        features: The name of the network whose features compare images; None means that of the
            data set.
        precision: 32-true, or bf16-mixed: encoder and decoder compute in bfloat16, and everything
            that is computed from distributions in float32. The rounding of the decoder is the same
            for every image, so the bound is a bound for the rounded model.
        compile: True to compile the decoder with torch.compile.
        folder: The folder of the results, and of the journals from which parts resume; None to
            write nothing.
    """

    split: str = "test"
    samples: int = 100
    images: int | None = None
    calibration_images: int | None = None
    seed: int = 0
    sampler: Sampler = field(default_factory=PriorSampler)
    features: str | None = None
    precision: str = "32-true"
    compile: bool = False
    folder: Path | None = None

    def journal_folder(self, part: str) -> Path | None:
        """Return the folder where a part keeps its results batch by batch, to resume from them."""
        return self.folder / "journal" / part if self.folder else None
