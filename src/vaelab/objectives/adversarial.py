"""The parts that objectives with a critic (discriminator) share.

The critic is a submodule of the objective, and its loss is a term of `loss`. The parameters of the
critic are frozen in the loss of the model, and the model is detached from the loss of the critic,
so one backward pass and one optimizer train both.
"""

from torch import Tensor
from torch.nn.functional import softplus

from vaelab.runtime.errors import UserError


def discriminator_loss(positive: Tensor, *negatives: Tensor) -> Tensor:
    """Compute the binary cross-entropy () of logits of positive and of negative examples.

    Each group of logits is averaged; the means are summed.
    """
    return softplus(-positive).mean() + sum(softplus(logits).mean() for logits in negatives)


def check_critic_learning_rate(lr: float) -> None:
    """Raise a ValueError unless the learning rate is above 0."""
    if not lr > 0:
        raise UserError(f"objective.lr={lr}: the learning rate of the critic must be above 0")
