"""The gate of a promotion as it is written down before a run: which figures a tuned model must reach."""

from typing import Annotated

from pydantic import Field

from tasks.core.record import Record

Margin = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class PromotionRules(Record):
    """What a model must show to become the champion.

    An MLflow run holds them as a parameter from its start, and the ones that it holds count: parameters do not change.
    """

    registered_model: str = Field(
        "zava-retail", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Its name in the MLflow registry."
    )
    minimum_gain: Margin = Field(0.05, description="Least gain in next_tool_call_accuracy over the base.")
    margin: Margin = Field(
        0.05, description="How much worse propagation, decisions, policy, or the champion's score may be at most."
    )
    max_invented_rate: Margin = Field(0.02, description="Most of the calls that may hold a value from nowhere.")
    max_errors: Count = Field(3, description="Most decisions without an answer.")
    max_cost: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Most that the run may have cost, in its currency; empty: any cost, also one not known."
    )
    max_regressions: Count = Field(0, description="Most replay stories that the base gets right and the model wrong.")
    min_stories: Count = Field(1, description="Fewest stories of the replay pack that were played.")
    gates: tuple[str, ...] = Field(
        ("format", "policy", "provenance", "execution", "goal"),
        description="Gates that the training data must have come through.",
    )
    min_yield: Annotated[float, Field(ge=0, le=1)] = Field(
        0.9, description="Smallest share of the played conversations that came through all gates."
    )
    approval: bool = Field(False, description="Wait for a person's yes, given in a form of the Prefect UI.")
    approval_minutes: Annotated[float, Field(gt=0)] = Field(
        60.0, description="So long; then the model stays the challenger, for `zava promote` to promote."
    )
