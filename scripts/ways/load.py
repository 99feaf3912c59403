"""Time the loading of the embedded digits."""

import time

from report import report

from vaelab.data.mnist5k import MNIST5k

started = time.perf_counter()
data = MNIST5k()
data.prepare_data()
data.setup()
report(seconds=[time.perf_counter() - started])
