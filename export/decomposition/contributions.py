"""The outputs that take a sum of logits apart into a signed contribution of each token, and how each is made.

A new one is a module with its rules and its reference, its line here, and its name in
`export.package.ContributionOutput`. The gates, the server and the measurements then know it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from export.decomposition.rules import FIXED, RULES, Rule
from export.package import ContributionOutput
from models.measuring.decomposition import decompose
from models.tasks.task import Head

Reference = Callable[
    [Any, Head, Mapping[str, Shaped[Tensor, "batch ..."]], Float[Tensor, "batch ..."]], Float[Tensor, "batch sequence"]
]
"""Model, head, inputs by name, and target -> contributions in eager torch; 0 on padding."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to take a sum of logits apart: each token's embedding times the gradient that the rules give."""

    rules: Mapping[str, Rule]
    """How a gradient passes back through each operator."""
    fixed: Collection[str]
    """Operators whose results are held fixed."""
    reference: Reference
    """An implementation of its own, which the graph must equal."""


RECIPES: Mapping[ContributionOutput, Recipe] = {
    "decomposition": Recipe(
        rules=RULES,
        fixed=FIXED,
        reference=lambda model, head, tensors, target: decompose(model, head, tensors, target).relevances,
    ),
}
