"""scripts/quantizers.py trains the runs of its table once, and measures a split."""

import numpy as np
import pytest
from PIL import Image


@pytest.mark.slow
def test_rows_are_printed_for_both_splits_of_the_same_runs(command, tmp_path):
    for i in range(100):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        path = tmp_path / "images" / ("test" if i < 20 else "train") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    words = ["--root", f"{tmp_path}/images", "--steps", "1", "--codes", "64"]
    words += ["--only", "fsq", "residual_vq"]
    status, output = command("scripts/quantizers.py", *words)
    assert status == 0, output
    assert "1 steps, seed 0, val images" in output
    assert "| 64 | fsq |" in output
    assert "of 4 (3 codebooks)" in output
    status, output = command("scripts/quantizers.py", *words, "--split", "test")
    assert status == 0, output
    assert "test images" in output
    assert "trained" not in output
