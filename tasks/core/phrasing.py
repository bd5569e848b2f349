"""How much of what a model gets wrong is due to words that training did not have.

The held-out set differs from training twice: its customers are new, and so are the templates that they speak. A second
set tells its errands again in the words of training. What a model gets right there and not here, it loses to the words.
"""

from tasks.core.evaluation import Difference, EvalReport
from tasks.core.metrics import HEADLINE
from tasks.core.record import Record


class PhrasingReport(Record):
    """One model on the held-out errands, told in unseen and in seen words; `errands` are those told in both.

    `differences` are seen minus unseen, with intervals by resampling errands.
    """

    model_id: str
    unseen: EvalReport
    seen: EvalReport
    errands: int
    differences: tuple[Difference, ...]

    @property
    def headline(self) -> Difference | None:
        """The difference of the headline metric, or None where a set has no decision with a call."""
        return next((change for change in self.differences if change.metric == HEADLINE), None)

    @property
    def sentence(self) -> str:
        """Say what the words cost."""
        change = self.headline
        if change is None:
            return f"{HEADLINE} was not measured in both ways of telling."
        verdict = "no clear difference"
        if change.low > 0:
            verdict = "unseen words cost it something"
        elif change.high < 0:
            verdict = "unseen words do not hold it back, on the contrary"
        return (
            f"The right next tool call in {100 * change.second:.1f} % where customers speak as in training, "
            f"{100 * change.first:.1f} % where they do not: {100 * change.difference:+.1f} points, "
            f"{100 * change.low:.1f} to {100 * change.high:.1f}, over {self.errands} errands told both ways; {verdict}."
        )
