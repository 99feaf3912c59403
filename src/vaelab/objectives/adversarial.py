"""What the objectives with a critic have in common.

The critic belongs to the objective, and its loss is a part of `loss`: each side is computed with
the other's parameters fixed, so one backward pass and one optimizer serve both.
"""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(high: Tensor, *low: Tensor) -> Tensor:
    """The cross-entropy () of logits that should be high, and of others that should be low."""
    return softplus(-high).mean() + sum(softplus(each).mean() for each in low)


def check_critic_lr(lr: float) -> None:
    if not lr > 0:
        raise ValueError(f"objective.lr={lr}: the critic's learning rate must be above 0")
