"""Model soups: several trainings from one start, whose weights are averaged, and the start's with them."""

import copy
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import nn
from torch.optim.swa_utils import AveragedModel

from models.networks.encoder import Encoder
from models.robust.method import Method


class Soup:
    """The mean of trainings from one start: a uniform model soup (Wortsman et al., ICML 2022, section 2).

    Each training, called an ingredient, has its own learning rate, order of the data and random draws. The soup is
    measured after each ingredient, and the soup that measures best is kept. The paper's greedy soup (recipe 1) also
    leaves out single ingredients; this one does not.

    With a share of the base, the start's weights have that share beside the mean: WiSE-FT (Wortsman et al., CVPR 2022,
    section 3, with alpha = 1 - share). The start may be trained for the task already, where theirs was zero-shot.
    """

    def __init__(self, encoder: Encoder, method: Method, base_share: float) -> None:
        """Remember the start, before any training."""
        self._base_share = base_share
        self._trained = nn.ModuleList([encoder, method])
        self._start = {name: tensor.clone() for name, tensor in self._trained.state_dict().items()}
        self.mean = AveragedModel(self._trained)

    @property
    def mixed(self) -> tuple[Encoder, Method]:
        """The encoder and method with the mean weights and the start's share."""
        modules: Any = self.mean.module
        if self._base_share:
            modules = copy.deepcopy(modules)
            with torch.no_grad():
                for name, weights in modules.named_parameters():
                    weights.lerp_(self._start[name], self._base_share)
        return modules[0], modules[1]

    def add(self) -> None:
        """Add the present weights to the mean."""
        self.mean.update_parameters(self._trained)

    def start_again(self, optimizer: torch.optim.Optimizer, seed: int) -> None:
        """Put the weights and the optimizer back to the start, and draw random numbers from `seed`."""
        self._trained.load_state_dict(self._start)
        optimizer.state.clear()
        set_seed(seed % 2**32)
