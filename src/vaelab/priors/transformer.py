"""A causal transformer over codebook indices: `prior=transformer`.

References:
    Attention Is All You Need (Vaswani et al., 2017), section 3, arXiv:1706.03762
    Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021), section 3.2,
    arXiv:2012.09841
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import scaled_dot_product_attention

from vaelab.distributions.codebook import (
    AutoregressiveIndices,
    codebook_constraint,
    number_codes,
)
from vaelab.posteriors.base import Posterior
from vaelab.priors.base import Prior, check_at_least_one
from vaelab.priors.codes import get_book_count, get_code_counts
from vaelab.runtime.errors import UserError

INITIAL_SCALE = 0.02  # standard deviation of the embeddings


class Transformer(Prior):
    """The autoregressive prior p(c) = prod_i p(c_i | c_1 ... c_{i-1}) over codebook indices c.

    The indices are in the order of z: row by row, and with several codebooks (residual_vq) all
    codes of a position after one another. Each index attends to all indices before it, and each
    codebook has embeddings of its own. Sampling keeps the keys and values of the indices so far, so
    that an index costs a pass over a single position.

    Arguments:
        latent_dim: The length of z.
        shape: The shape of one x.
        channels: The length of an embedding, a multiple of heads.
        layers: The number of layers.
        heads: The number of attention heads.

    Raises:
        UserError: If a size is not positive, or channels are not a multiple of heads.
    """

    support = codebook_constraint
    zeros: Tensor
    network: "TransformerNetwork"

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        channels: int = 128,
        layers: int = 4,
        heads: int = 4,
    ):
        super().__init__(latent_dim, shape)
        check_at_least_one(channels=channels, layers=layers, heads=heads)
        if channels % heads:
            raise UserError(
                f"prior.channels={channels} must be a multiple of prior.heads={heads}: change one"
            )
        self.settings = channels, layers, heads

    def prepare(self, posterior: Posterior) -> None:
        count, size = get_code_counts(posterior, self.latent_dim)
        self.network = TransformerNetwork(count, size, get_book_count(posterior), *self.settings)
        self.register_buffer("zeros", torch.zeros(count), persistent=False)

    def forward(self, encode: Callable[..., Distribution]) -> AutoregressiveIndices:
        return AutoregressiveIndices(self.network, self.zeros, self.network.start)


class TransformerNetwork(nn.Module):
    """Maps indices (B, n) to logits (B, n, K), those of index i as a function of indices before i.

    Arguments:
        count: The number n of indices, a multiple of books.
        size: The number K of codes in a codebook.
        books: The number of codebooks; index i is of codebook i mod books.
        channels, layers, heads: See `Transformer`.
    """

    def __init__(self, count: int, size: int, books: int, channels: int, layers: int, heads: int):
        super().__init__()
        self.embeddings = nn.Parameter(INITIAL_SCALE * torch.randn(books, size, channels))
        self.positions = nn.Parameter(INITIAL_SCALE * torch.randn(count, channels))
        self.first = nn.Parameter(INITIAL_SCALE * torch.randn(channels))
        self.layers = nn.ModuleList(Layer(channels, heads) for _ in range(layers))
        self.normalization = nn.LayerNorm(channels)
        self.bias = nn.Parameter(torch.zeros(books, size))

    def forward(self, indices: Tensor) -> Tensor:
        x = self.embeddings.flatten(0, 1)[number_codes(indices, self.embeddings)]
        first = self.first.expand(len(indices), 1, -1)
        x = torch.cat([first, x[:, :-1]], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        x = self.normalization(x).unflatten(1, (-1, len(self.embeddings)))
        logits = torch.einsum("bpmc,mkc->bpmk", x, self.embeddings) + self.bias
        return logits.flatten(1, 2)

    def start(self, count: int) -> Callable[[Tensor | None], Tensor]:
        """Return a function that gives the logits (count, K) of the next index.

        It is called with None for the first index, and then with the index (count,) before.
        """
        caches: list[Cache] = [{} for _ in self.layers]
        position = 0

        def compute_next_logits(index: Tensor | None) -> Tensor:
            nonlocal position
            books = len(self.embeddings)
            if index is None:
                x = self.first.expand(count, -1)
            else:
                x = self.embeddings[(position - 1) % books, index]
            x = (x + self.positions[position]).unsqueeze(1)
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, cache)
            book = position % books
            position += 1
            return self.normalization(x[:, 0]) @ self.embeddings[book].T + self.bias[book]

        return compute_next_logits


Cache = dict[str, Tensor]
"""The keys and values (B, heads, i, channels / heads) of the positions so far."""


class Layer(nn.Module):
    """Causal self-attention and a network of two layers, each after a normalization (B, i, C)."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.inputs = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)
        self.network = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """Compute the features of all positions, or with a cache those of the next position."""
        x = x + self._attend(self.attention_norm(x), cache)
        return x + self.network(self.norm(x))

    def _attend(self, x: Tensor, cache: Cache | None) -> Tensor:
        heads = self.inputs(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = heads.unbind(2)
        if cache is not None:
            if cache:
                key = torch.cat([cache["key"], key], 2)
                value = torch.cat([cache["value"], value], 2)
            cache.update(key=key, value=value)
        mixed = scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        return self.output(mixed.transpose(1, 2).flatten(2))
