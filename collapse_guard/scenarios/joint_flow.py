"""A generator of image and class in one model, so that it can forget a class.

Flow matching with straight paths (Lipman et al., arXiv 2210.02747) on principal components and a scaled one-hot class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Labels = NDArray[np.int64]

N_CLASSES: Final = 10
N_CODES, WIDTH, LABEL_SCALE, ODE_STEPS = 12, 128, 4.0, 16
EPOCHS, STEPS_PER_EPOCH, BATCH_ROWS, PEAK_RATE = 5, 100, 128, 6e-3


class JointFlow(pl.LightningModule):
    """Flow matching on (principal components of the image, scaled one-hot class): one model of both."""

    mean: torch.Tensor
    basis: torch.Tensor
    scale: torch.Tensor
    frequencies: torch.Tensor

    def __init__(self, images: Images) -> None:
        super().__init__()
        rows = torch.from_numpy(images)
        _, sizes, basis = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("basis", basis[:N_CODES].clone())
        self.register_buffer("scale", sizes[:N_CODES] / len(rows) ** 0.5)
        self.register_buffer("frequencies", torch.arange(1, 9) * torch.pi)
        layers: list[nn.Module] = [nn.Linear(N_CODES + N_CLASSES + 16, WIDTH), nn.SiLU()]
        layers += [nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(WIDTH, N_CODES + N_CLASSES))

    def velocity(self, state: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Return the velocity at ``state``, shape (rows, codes + classes), and ``time`` in [0, 1], shape (rows, 1)."""
        angles = time * self.frequencies
        moved: torch.Tensor = self.net(torch.cat([state, torch.sin(angles), torch.cos(angles)], 1))
        return moved

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:  # noqa: ARG002 - hook signature
        """Return the flow-matching loss of one batch."""
        codes = (batch["image"] - self.mean) @ self.basis.T / self.scale
        end = torch.cat([codes, LABEL_SCALE * functional.one_hot(batch["label"], N_CLASSES)], 1)
        start, time = torch.randn_like(end), torch.rand(len(end), 1)
        error = self.velocity((1 - time) * start + time * end, time) - (end - start)
        return (error**2).sum(1).mean()

    def configure_optimizers(self) -> Any:
        """Adam with one cycle of the learning rate."""
        optimizer = torch.optim.AdamW(self.parameters(), weight_decay=0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=EPOCHS * STEPS_PER_EPOCH)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def generate(self, n_rows: int) -> tuple[Images, Labels]:
        """Return ``n_rows`` images of shape (rows, 64) in [0, 1], and the class that the model gives each."""
        state = torch.randn(n_rows, N_CODES + N_CLASSES)
        for step in range(ODE_STEPS):
            time = torch.full((n_rows, 1), (step + 0.5) / ODE_STEPS)
            state = state + self.velocity(state, time) / ODE_STEPS
        images = (state[:, :N_CODES] * self.scale) @ self.basis + self.mean
        return images.clamp(0, 1).numpy(), state[:, N_CODES:].argmax(1).numpy()
