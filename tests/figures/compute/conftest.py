import pytest

from vaelab.data.base import Split
from vaelab.runs.run import RunParts

IMAGES = 100  # of each split
composed = {}  # configs by their overrides, since composing takes longer than building


@pytest.fixture
def run(config):
    """Build an untrained run with the first IMAGES images of each split."""

    def build(*words):
        if words not in composed:
            composed[words] = config(*words)
        run = RunParts.build(composed[words])
        run.data.setup()
        for name, split in run.data.splits.items():
            run.data.splits[name] = Split(*(part[:IMAGES] for part in split))
        return run

    return build
