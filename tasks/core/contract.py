"""What the shop promises an agent: its policy and its tools. A model is only as good as the contract it was taught."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.core.record import Record, sha256_of


class Contract(Record):
    """The digests of a policy and of each tool's name, description and parameters."""

    policy_sha256: str
    tools: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """The digest of the whole contract."""
        return self.digest()


def contract_of(policy: str, tools: Iterable[Mapping[str, Any]]) -> Contract:
    """Return the contract of a policy and of tools in the OpenAI shape."""
    digests = {str(tool["function"]["name"]): sha256_of(tool) for tool in tools}
    return Contract(policy_sha256=sha256_of(policy), tools=digests)


def is_touched(taught: Contract, served: Contract, used: Iterable[str]) -> bool:
    """Whether what was done with these tools could be another thing under the contract that is served now."""
    if taught.policy_sha256 != served.policy_sha256:
        return True
    return any(taught.tools.get(name) != served.tools.get(name) for name in used)


def changes(taught: Contract, served: Contract) -> list[str]:
    """Return in words what is another in the contract that is served now."""
    told = [] if taught.policy_sha256 == served.policy_sha256 else ["the policy changed"]
    for name in sorted(taught.tools | served.tools):
        if name not in served.tools:
            told.append(f"tool {name!r} is gone")
        elif name not in taught.tools:
            told.append(f"tool {name!r} is new")
        elif taught.tools[name] != served.tools[name]:
            told.append(f"tool {name!r} changed")
    return told
