"""Nearest class mean, with a temperature."""

import torch
from torch import Tensor, nn

from metaexp import Algorithm, Examples, PositiveFloat
from metaexp.models.base import has_batch_norm


class Centroids(Algorithm):
    """Each query goes to the class whose mean embedding is nearest."""

    model_output = "embedding"
    fixed_way = False
    classes_needed = True

    def __init__(self, model: nn.Module, temperature: PositiveFloat) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    @property
    def batch_norm(self) -> str:
        return "running" if has_batch_norm(self.model) else "none"

    def adapt(self, support: Examples) -> Tensor:
        embedded = self.model(support.x).flatten(1)  # (S, F)
        one_hot = nn.functional.one_hot(support.y, support.n_way).to(embedded)  # (S, N)
        return one_hot.T @ embedded / one_hot.sum(0).unsqueeze(1)  # (N, F)

    def predict(self, adapted: Tensor, x: Tensor) -> Tensor:
        return -torch.cdist(self.model(x).flatten(1), adapted).square() / self.temperature  # (M, N)
