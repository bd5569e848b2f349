"""A scripted customer that hears: takes the agent's free words for a question of the script, and answers it."""

import random
import re
from collections.abc import Mapping
from typing import Any

from tasks.core.customer import Question, ScriptedCustomer
from tasks.core.episodes import Brief
from tasks.core.phrases import PhraseBook
from tasks.core.scenario import Scenario

# In this order: a confirmation may name a refund, and a request for a refund method may name a payment.
_WORDS: Mapping[Question, str] = {
    "anything_else": r"\b(any|some)thing else\b|\bfurther (help|questions?)\b|\bwhat else\b",
    "confirmation": (
        r"\b(yes|confirm|proceed|go ahead|shall i|should i (do|go|cancel|change)|would you like me to"
        r"|(is|are) (this|that|these|it|all) (right|correct|ok|okay|fine))\b.*\?"
    ),
    "reason": r"\b(reason|why)\b.*\?",
    "refund": r"\b(refund(ed)?|money)\b.*\?",
    "payment": r"\b(payment method|which (card|method)|pay (with|the difference)|price difference)\b.*\?",
    "identity": r"\b(e-?mail|zip|full name|identity|verify|who (you are|am i))\b",
    "request": r"\b(what|how) (can|may|could) i (do|help|assist)\b|\bhelp you with\b",
}
_PATTERNS = {question: re.compile(words, re.IGNORECASE | re.DOTALL) for question, words in _WORDS.items()}
_STATED = re.compile(
    r"\b(cancelled|updated|changed|modified|requested|pending|processed|delivered|sorry|cannot|done)\b"
)
_OVER = re.compile(r"\b(human|colleague|transferr?(ed|ing)?|good ?bye|nice day|good day|welcome)\b", re.IGNORECASE)

# Asked so often without understanding, a customer gives up.
PATIENCE = 2


class HearingCustomer:
    """Speaks a scenario to an agent of free words.

    `gave_up` says that it left without being served, `fault` why that was its own doing, if so.
    """

    def __init__(self, script: ScriptedCustomer) -> None:
        """Speak by this script."""
        self._script = script
        self._said = ""
        self._puzzled = 0
        self.gave_up = False
        self.fault: str | None = None

    def opening(self) -> str:
        """Return the first words."""
        self._said = self._script.open().text
        return self._said

    def answer(self, agent: str) -> str | None:
        """Return what the customer says to the agent's words, or None when there is nothing more to say."""
        question = question_in(agent)
        if question is None and _OVER.search(agent):
            return None
        if question is None or not self._script.can_answer(question):
            return self._be_puzzled(agent)
        self._puzzled = 0
        said = self._script.answer(question)
        self._said = said.text
        return None if said.facts.get("done") else said.text

    def _be_puzzled(self, agent: str) -> str | None:
        """Say the last words again, and give up when that does not help; who asks nothing is at fault themselves."""
        self._puzzled += 1
        if self._puzzled <= PATIENCE:
            return self._said
        self.gave_up = True
        if "?" in agent:
            self.fault = f"the customer did not understand {agent[:120]!r}"
        return None


def brief_of(scenario: Scenario, user: Mapping[str, Any], phrases: PhraseBook, rng: random.Random) -> Brief:
    """Return a scenario as a brief: what its script would say, all at once, for a model to say it."""
    plain = scenario.model_copy(update={"opening": "identity_first", "noise_rate": 0.0})
    script = ScriptedCustomer(plain, user, phrases, rng)
    known = script.open().text
    wants: list[str] = []
    for request in scenario.requests:
        late: list[Question] = ["reason"] if "reason" in request.late else []
        late += ["payment"] if "payment" in request.late else []
        words = [script.answer("request").text, *(f"(if asked: {script.answer(q).text})" for q in late)]
        words += ["(when asked to confirm this, say no)"] if request.trap == "changes_mind" else []
        wants.append(" ".join(words))
    return Brief(reason_for_call=" Then: ".join(wants), known_info=known)


def question_in(agent: str) -> Question | None:
    """Return what the agent's words ask; a statement of what was done or cannot be asks for nothing more."""
    found = next((question for question, pattern in _PATTERNS.items() if pattern.search(agent)), None)
    if found is None and _STATED.search(agent.casefold()) and "?" not in agent:
        return "anything_else"
    return found
