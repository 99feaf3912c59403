"""The tab that walks from one test image to another."""

from collections.abc import Sequence

from torch import Tensor

from vaelab.explorer import markup
from vaelab.explorer.explorer import Explorer
from vaelab.explorer.listen import gr, on
from vaelab.explorer.sources import SHOWN, TileInput

STEPS = 11  # pictures of the whole way


class WalkTab:
    """Builds the tab inside what is open, and listens to it."""

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        ends = 0, self._other()
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>From</h3>")
                self.start = TileInput(explorer, ends[0])
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>On the way</h3>")
                self.figures = gr.HTML(self._figures(*ends, 0.5), elem_classes="walked")
                self.share = gr.Slider(0, 1, 0.5, step=0.01, label="How far along", buttons=[])
            with gr.Column(scale=4, min_width=300):
                gr.HTML("<h3>To</h3>")
                self.end = TileInput(explorer, ends[1])
        self.strip = gr.HTML(self._strip(*ends))
        self._listen()

    def _other(self) -> int:
        """The first test image with another label than image 0, or the second one."""
        labels = self.explorer.run.data.splits["test"].labels[:SHOWN]
        other = (labels != labels[:1]).flatten(1).any(1) if labels.ndim > 1 else labels != labels[0]
        return int(other.nonzero()[0]) if other.any() else min(1, len(labels) - 1)

    def _listen(self) -> None:
        where = [self.start.chosen, self.end.chosen, self.share]
        on(self.share.input, self._figures, where, [self.figures])
        for tiles in (self.start, self.end):
            on(tiles.chosen.picked, self._picked, where, [self.figures, self.strip])

    def _picked(self, first: int, last: int, share: float) -> list[str]:
        return [self._figures(first, last, share), self._strip(first, last)]

    def _figures(self, first: int, last: int, share: float) -> str:
        ends = [self.explorer.shown(self.explorer.image(index)) for index in (first, last)]
        (between,) = self._pictures(first, last, [share])
        return markup.figures(
            (ends[0], f"test image {first}"),
            (between, f"{share:.0%} of the way"),
            (ends[1], f"test image {last}"),
        )

    def _strip(self, first: int, last: int) -> str:
        shares = [step / (STEPS - 1) for step in range(STEPS)]
        return markup.strip(self._pictures(first, last, shares))

    def _pictures(self, first: int, last: int, shares: Sequence[float]) -> list[Tensor]:
        start, end = self._end(first), self._end(last)
        ways = [self.explorer.walk(start, end, share) for share in shares]
        return [self.explorer.decode(*way) for way in ways]

    def _end(self, index: int) -> tuple[Tensor, Tensor]:
        y = self.explorer.label_of(index)
        return self.explorer.encode(self.explorer.image(index), y), y
