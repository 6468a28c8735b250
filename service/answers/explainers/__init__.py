"""The ways to compute token scores.

A new way is a module here, its line in `EXPLAINERS`, and its name in `service.answers.explanation.ExplanationMethod`,
which is part of the HTTP contract.
"""

from collections.abc import Mapping

from export.session import SHARES
from service.answers.explainers.decomposition import Decomposition
from service.answers.explainers.explainer import Explainer
from service.answers.explainers.graph_output import GraphOutput
from service.answers.explainers.occlusion import Occlusion
from service.answers.explanation import ExplanationMethod

EXPLAINERS: Mapping[ExplanationMethod, Explainer] = {
    **{name: GraphOutput(name) for name in SHARES},
    "decomposition": Decomposition(),
    "occlusion": Occlusion(),
}
