"""The contract of a part of an evaluation: a file with `evaluate(run, asked) -> dict`.

It returns named numbers of `asked.split`, ready for JSON, whose names no other part uses; images
are the first `asked.images` of it. Where the part has no meaning for the model or the data it
raises `Absent` with the reason. Passes over images are those of batches.py, so that the numbers
are the same with any number of processes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from vaelab.samplers.base import Sampler
from vaelab.samplers.prior import PriorSampler


class NotApplicable(Exception):
    """This part has no meaning here; the message says why, and what would have one."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is to be evaluated, and how.

    Attributes:
        samples: Of the importance-weighted bound.
        images: The first so many of the split; None is all.
        sampler: What draws the codes of new images; None is p(z).
        features: The net that images are compared by; None is that of the data set.
        precision: 32-true, or bf16-mixed: encoder and decoder compute in bfloat16, and all that
            is computed from distributions in float32. The decoder rounds the same way for every
            image, so the bound is one of the model that rounds.
        compile: Whether torch.compile compiles the decoder.
        folder: Where the evaluation is written and parts keep what they go on from; None: nowhere.
    """

    split: str = "test"
    samples: int = 100
    images: int | None = None
    seed: int = 0
    sampler: Sampler = field(default_factory=PriorSampler)
    features: str | None = None
    precision: str = "32-true"
    compile: bool = False
    folder: Path | None = None

    def journal(self, part: str) -> Path | None:
        """The folder where a part keeps what it found for each batch."""
        return self.folder / "journal" / part if self.folder else None
