import math

import torch

from vaelab.priors.normal import UnitNormal


def test_log_prob_is_that_of_the_standard_normal():
    p = UnitNormal(3, (1,))(lambda x: x)
    z = torch.tensor([0.0, 1.0, -2.0])
    expected = -1.5 * math.log(2 * math.pi) - (0 + 1 + 4) / 2
    assert p.event_shape == (3,)
    torch.testing.assert_close(p.log_prob(z), torch.tensor(expected))


def test_prior_has_no_parameters_and_no_state():
    prior = UnitNormal(3, (1,))
    assert not list(prior.parameters())
    assert not prior.state_dict()
