"""A conversation of a person with a model that works in the shop, step by step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from tasks.clients import async_openai_client
from tasks.core.config import EvaluationConfig, Profile
from tasks.core.conversation import Message
from tasks.episode import Guard, Step, run_turns
from tasks.remote_shop import RemoteShop, open_remote_shop


class Talk:
    """One conversation: the policy, what was said, and the tools."""

    def __init__(
        self,
        client: AsyncOpenAI,
        model_id: str,
        shop: RemoteShop,
        policy: str,
        config: EvaluationConfig,
        guard: Guard,
    ) -> None:
        """Begin with the policy as the system prompt."""
        self._client = client
        self._model_id = model_id
        self._shop = shop
        self._policy = policy
        self._config = config
        self._guard = guard
        self.messages = self._beginning()

    def _beginning(self) -> list[Message]:
        return [Message(role="system", content=self._policy)]

    def forget(self) -> None:
        """Begin the conversation anew; what was changed in the shop stays changed."""
        self.messages = self._beginning()

    async def say(self, words: str) -> AsyncIterator[Step]:
        """Say something to the model and yield what it does until it answers.

        Raises:
            ProviderError: The provider is not there, or refuses the model.
        """
        self.messages.append(Message(role="user", content=words))
        tools = await self._shop.tools()
        async for step in run_turns(
            self._client, self._model_id, self.messages, self._shop, tools, self._config, guard=self._guard
        ):
            yield step


@asynccontextmanager
async def open_talk(profile: Profile, model_id: str, shop_address: str, guard: Guard = "off") -> AsyncIterator[Talk]:
    """Open a conversation with a model over the shop server, on a sandbox of its own.

    Raises:
        ServiceError: No shop answers there.
    """
    async with async_openai_client(profile.provider) as client, open_remote_shop(shop_address) as shop:
        yield Talk(client, model_id, shop, await shop.policy(), profile.evaluation, guard)
