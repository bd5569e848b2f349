"""Who a message from outside comes from: the signature of the Standard Webhooks, which OpenAI's messages carry too.

It covers the message's id, its time and its body. A message whose time is more than five minutes off is refused, so
that what was overheard is of no use later; one that is repeated within that time is known by its id.
"""

import base64
import os
from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tasks.core.errors import ConfigError, MessageError
from tasks.core.operation import Hook

# In bytes, of a key that nobody guesses.
SHORTEST_KEY = 16


def secret_variable(hook: Hook) -> str:
    """Return the name of the environment variable with a hook's secrets."""
    return "OPENAI_WEBHOOK_SECRET" if hook == "provider" else f"ZAVA_HOOK_{hook.upper()}_SECRET"


def verifiers(hook: Hook) -> list[Webhook]:
    """Return what checks a hook's signatures; several secrets, with spaces between, hold while one replaces another.

    Raises:
        ConfigError: The variable is not set, or holds no secret.
    """
    variable = secret_variable(hook)
    secrets = os.environ.get(variable)
    if not secrets:
        raise ConfigError(f"No secret to check signatures with: set the variable {variable} ('whsec_' and base64).")
    try:
        keys = [base64.b64decode(text.removeprefix("whsec_"), validate=True) for text in secrets.split()]
    except ValueError as error:
        raise ConfigError(f"{variable} holds no secret: one is 'whsec_' and a key in base64.") from error
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise ConfigError(f"{variable} holds a secret that could be guessed: a key has {SHORTEST_KEY} bytes or more.")
    return [Webhook(key) for key in keys]


def check(body: bytes, headers: Mapping[str, str], checks: Sequence[Webhook]) -> str:
    """Return the id of a message that one of the secrets signed not more than five minutes ago.

    Raises:
        MessageError: The signature is missing, wrong, too old or too new.
    """
    told: Exception | None = None
    for one in checks:
        try:
            one.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            told = error
        else:
            return headers["webhook-id"]
    raise MessageError(f"This message is not signed by who may send it: {told}.") from told
