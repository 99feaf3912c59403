import numpy as np
import torch

from vaelab.notes.latent_moments import read_moments

CALLBACK = (
    "+callbacks.codes._target_=vaelab.notes.latent_moments.LatentMoments",
    "+callbacks.codes.images=12",
)


def test_the_codes_are_kept_before_the_first_step_and_after_each_epoch(train):
    words = ["latent_dim=2", "model.hidden=[8]", "kl=warmup", "kl.period=4", *CALLBACK]
    words.append("trainer.max_epochs=2")
    with_codes = train(*words)
    moments, labels = read_moments(with_codes["folder"])
    assert [(each.step, each.kl_weight) for each in moments] == [(0, 0.0), (2, 0.5), (4, 1.0)]
    assert labels.shape == (12,)
    assert all(each.mean.shape == each.sd.shape == (12, 2) for each in moments)
    assert not np.array_equal(moments[0].mean, moments[1].mean)
    without = train(*(word for word in words if "callbacks" not in word), folder="without")
    assert with_codes["elbo"] == without["elbo"]  # it looks on, and changes nothing


def test_the_last_codes_are_those_of_the_model(train):
    from vaelab.runs.run import Run

    words = ["latent_dim=2", "model.hidden=[8]", "data.binarize=none", *CALLBACK]
    folder = train(*words)["folder"]
    run = Run.open(folder, "last")
    with torch.no_grad():
        q = run.vae.encode(run.data.prepare(run.data.splits["train"].images[:12]))
    last = read_moments(folder)[0][-1]
    torch.testing.assert_close(torch.from_numpy(last.mean), q.mean)
    torch.testing.assert_close(torch.from_numpy(last.sd), q.variance.sqrt())
