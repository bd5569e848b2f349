"""A customer played by a model: any chat model under a customer's brief."""

import re

from openai import AsyncOpenAI

from tasks.ask import ask, request_for
from tasks.core.config import EvaluationConfig
from tasks.core.episodes import Brief
from tasks.core.story import cue_in

STOP = "###STOP###"
# The next words of a real customer are not certain; the agent is sampled without chance, the customer is not.
TEMPERATURE = 0.7

_PROMPT = """You play a customer who writes to the customer service of a shop.

What you want: {reason_for_call}
What you know: {known_info}
What you do not know: {unknown_info}
How you behave: {task_instructions}

Write only the customer's next message, in your own words and one step at a time: tell a fact when it is asked for.
State no fact that is not given above; say that you do not know it. When all that you want is done or refused, or you
are handed over to a human, answer with nothing but {stop}"""
_FACTS = re.compile(r"[\w.+-]+@[\w.-]+\w|#?\b\w*\d{4,}\w*\b")


class ModelCustomer:
    """Speaks a brief by a model.

    `gave_up` says that it left without a word, `fault` what it did that no customer of this brief would.
    """

    def __init__(self, client: AsyncOpenAI, model: str, brief: Brief, config: EvaluationConfig) -> None:
        """Ask this model; `config.seed` makes one trial unlike another."""
        self._client = client
        self._model = model
        self._config = config
        self._known = " ".join(brief.model_dump().values()).casefold()
        prompt = _PROMPT.format(stop=STOP, **brief.model_dump())
        # To the model that plays the customer, the agent is the user.
        self._messages = [{"role": "system", "content": prompt}]
        self.gave_up = False
        self.fault: str | None = None

    async def opening(self) -> str:
        """Return the first words."""
        return await self.answer("Hello, how can I help you today?") or ""

    async def answer(self, agent: str) -> str | None:
        """Return the model's next words as the customer, or None when it ends the conversation or gives none."""
        self._messages.append({"role": "user", "content": agent})
        self._known += f" {agent.casefold()}"
        request = request_for(self._model, self._messages, [], self._config) | {"temperature": TEMPERATURE}
        came = await ask(self._client, request, self._config.timeout_s)
        words = (came.content or "").strip()
        if came.error is not None or not words:
            self.gave_up, self.fault = True, f"the customer gave no answer: {came.error_message or 'no text'}"
            return None
        if STOP in words:
            if cue_in(agent) == "confirmation":
                self.fault = "the customer ended the conversation instead of saying yes or no"
            return None
        self._messages.append({"role": "assistant", "content": words})
        made_up = [fact for fact in _FACTS.findall(words) if fact.casefold().lstrip("#") not in self._known]
        if made_up and self.fault is None:
            self.fault = f"the customer made up {', '.join(made_up)}"
        return words


class RecitingCustomer:
    """Says a brief as it stands, then yes to every question that asks for it: crude, but without a model."""

    def __init__(self, brief: Brief) -> None:
        """Recite this brief."""
        self._brief = brief
        self._left = 2
        self.gave_up = False
        self.fault: str | None = None

    def opening(self) -> str:
        """Return all that the customer knows and wants."""
        return f"{self._brief.known_info} {self._brief.reason_for_call}".strip()

    def answer(self, agent: str) -> str | None:
        """Return a yes where one is asked for; else the brief again, twice at most."""
        match cue_in(agent):
            case "confirmation":
                return "Yes, please go ahead."
            case "farewell" | "done":
                return None
        self._left -= 1
        if self._left < 0:
            self.gave_up, self.fault = True, f"the customer did not understand {agent[:120]!r}"
            return None
        return f"{self.opening()} {self._brief.task_instructions}".strip()
