"""A small dense variational autoencoder of 8 x 8 images, and a frozen labeller of what it makes.

Sources: Kingma and Welling (arXiv 1312.6114). torch and scikit-learn are loaded when a model is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard._optional import need

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Ints = NDArray[np.int64]

N_PIXELS, N_LATENTS, N_HIDDEN = 64, 16, 256
N_PASSES, BATCH_ROWS, LEARNING_RATE = 26, 128, 2e-3
MOST_IMAGES: Final = 16_000
#: Spread of a pixel around what the decoder says: a smaller one spends more on likeness and less on the prior.
PIXEL_SPREAD: Final = 0.2
LABELLER_HIDDEN, LABELLER_PASSES = 64, 60
OFF_MANIFOLD_QUANTILE: Final = 0.95
#: Rows whose distances are held at once: 16 MB.
_ROWS_AT_ONCE: Final = 4_096


def fit_vae(images: Images, *, seed: int) -> Callable[[int, int], Images]:
    """Return ``sample(n_rows, seed) -> images`` of an autoencoder fitted to ``images``, values in [0, 1].

    It sees every image equally often, so that a set that accumulates is not learnt worse; beyond ``MOST_IMAGES`` the
    number of steps is that of ``MOST_IMAGES``.
    """
    torch = need("torch", extra="demo")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices: more threads are slower
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = _fitted_decoder(torch, torch.from_numpy(images))
    finally:
        torch.set_num_threads(n_threads)

    def sample(n_rows: int, sample_seed: int) -> Images:
        chance = torch.Generator().manual_seed(sample_seed)
        with torch.no_grad():
            made = torch.sigmoid(decoder(torch.randn(n_rows, N_LATENTS, generator=chance)))
        return np.asarray(made.numpy(), dtype=np.float32)

    return sample


def _fitted_decoder(torch: Any, images: Any) -> Any:
    nn = torch.nn
    encoder = nn.Sequential(nn.Linear(N_PIXELS, N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, 2 * N_LATENTS))
    decoder = nn.Sequential(nn.Linear(N_LATENTS, N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, N_PIXELS))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LEARNING_RATE)
    n_steps = N_PASSES * min(len(images), MOST_IMAGES) // BATCH_ROWS
    for step in range(n_steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / n_steps)
        batch = images[torch.randint(len(images), (BATCH_ROWS,))]
        mean, log_variance = encoder(batch).chunk(2, dim=1)
        codes = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        wrong = ((torch.sigmoid(decoder(codes)) - batch) ** 2).sum() / (2 * PIXEL_SPREAD**2)
        spread = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        optimizer.zero_grad()
        ((wrong + spread) / BATCH_ROWS).backward()
        optimizer.step()
    return decoder


def nearest_distances(images: Images, others: Images) -> NDArray[np.float32]:
    """Return the Euclidean distance of each image to the nearest of ``others``, shape (rows,).

    >>> nearest_distances(np.zeros((1, 2), np.float32), np.array([[3, 4]], np.float32)).tolist()
    [5.0]
    """
    found = np.empty(len(images), dtype=np.float32)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        some = images[start : start + _ROWS_AT_ONCE]
        squared = (some**2).sum(1)[:, None] + (others**2).sum(1) - 2 * some @ others.T
        found[start : start + _ROWS_AT_ONCE] = np.sqrt(np.maximum(squared.min(axis=1), 0))
    return found


@dataclass(frozen=True)
class FrozenLabeller:
    """A classifier that saw all classes, and answers -1 far from every real image that it holds.

    Args:
        classify: images -> classes.
        held_out: real images that no model learns from.
        line: distance to the nearest of them beyond which an image is none.
    """

    classify: Callable[[Images], Ints]
    held_out: Images
    line: float

    @classmethod
    def fit(cls, images: Images, labels: Ints) -> FrozenLabeller:
        """Return a labeller fitted to held-out real images; the line is their own 95 % nearest-neighbour distance."""
        network = need("sklearn.neural_network", extra="demo")
        classifier = network.MLPClassifier((LABELLER_HIDDEN,), random_state=0)
        for _ in range(LABELLER_PASSES):
            classifier.partial_fit(images, labels, classes=np.unique(labels))
        apart = [nearest_distances(images[i : i + 1], np.delete(images, i, 0))[0] for i in range(len(images))]
        return cls(classifier.predict, images, float(np.quantile(apart, OFF_MANIFOLD_QUANTILE)))

    def __call__(self, images: Images) -> Ints:
        """Return the class of each image, or -1, shape (rows,)."""
        labels = np.asarray(self.classify(images), dtype=np.int64)
        return np.where(nearest_distances(images, self.held_out) > self.line, -1, labels)
