import numpy as np
import torch

from vaelab.data.base import choose_subset
from vaelab.notes.latent_moments import read_snapshots

CALLBACK = (
    "+callbacks.latent_moments._target_=vaelab.notes.latent_moments.LatentMoments",
    "+callbacks.latent_moments.images=12",
)


def test_snapshots_are_recorded_before_the_first_step_and_after_each_epoch(train):
    words = ["latent_dim=2", "model.hidden=[8]", "kl=warmup", "kl.period=4", *CALLBACK]
    words.append("trainer.max_epochs=2")
    recorded = train(*words)
    snapshots, labels = read_snapshots(recorded["folder"])
    schedule = [(snapshot.step, snapshot.kl_weight) for snapshot in snapshots]
    assert schedule == [(0, 0.0), (2, 0.5), (4, 1.0)]
    assert labels.shape == (12,)
    assert all(snapshot.mean.shape == snapshot.sd.shape == (12, 2) for snapshot in snapshots)
    assert not np.array_equal(snapshots[0].mean, snapshots[1].mean)
    without = train(*(word for word in words if "callbacks" not in word), folder="without")
    assert recorded["elbo"] == without["elbo"]  # recording does not change the training


def test_last_snapshot_matches_the_trained_model(train):
    from vaelab.runs.run import RunParts

    words = ["latent_dim=2", "model.hidden=[8]", "data.binarize=none", *CALLBACK]
    folder = train(*words)["folder"]
    run = RunParts.open(folder, "last")
    with torch.no_grad():
        images, labels = run.data.splits["train"]
        subset = choose_subset(len(images), 12)
        q = run.vae.encode(run.data.prepare(images[subset]))
    snapshots, recorded_labels = read_snapshots(folder)
    assert torch.equal(recorded_labels, labels[subset])
    last = snapshots[-1]
    torch.testing.assert_close(torch.from_numpy(last.mean), q.mean)
    torch.testing.assert_close(torch.from_numpy(last.sd), q.variance.sqrt())
