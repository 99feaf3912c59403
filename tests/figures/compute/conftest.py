import pytest

from vaelab.data.base import Split
from vaelab.runs.run import Run

IMAGES = 100  # of a split
composed = {}  # configs by their words, which take longer to compose than to build


@pytest.fixture
def run(config):
    """A run before its first step, with the first images of its data."""

    def make(*words):
        if words not in composed:
            composed[words] = config(*words)
        run = Run.build(composed[words])
        run.data.setup()
        for name, split in run.data.splits.items():
            run.data.splits[name] = Split(*(part[:IMAGES] for part in split))
        return run

    return make
