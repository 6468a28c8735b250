"""The ways to compute token scores.

A new way is a module here, its line in `EXPLAINERS`, and its name in `service.answers.explanation.ExplanationMethod`,
which is part of the HTTP contract. A way that the graph computes is added in `export.decomposition.contributions`.
"""

from collections.abc import Mapping

from export.session import CONTRIBUTIONS, SHARES
from service.answers.explainers.contribution import ContributionScores
from service.answers.explainers.explainer import Explainer
from service.answers.explainers.graph_output import GraphOutput
from service.answers.explainers.occlusion import Occlusion
from service.answers.explanation import ExplanationMethod

EXPLAINERS: Mapping[ExplanationMethod, Explainer] = {
    **{name: GraphOutput(name) for name in SHARES},
    **{name: ContributionScores(name) for name in CONTRIBUTIONS},
    "occlusion": Occlusion(),
}
