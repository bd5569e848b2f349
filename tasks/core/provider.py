"""What kinds of provider there are, and in what they differ from one another."""

from typing import Literal

from tasks.core.record import Record

ProviderKind = Literal["local", "openai", "azure", "compatible"]
# What a job's creation may hold; a server that refuses one of them names it in `provider.leave_out`.
JobField = Literal["metadata", "seed", "suffix", "method"]


class Capabilities(Record):
    """What a kind of provider can do, and within what limits.

    `deploys`: a tuned model answers only once it is deployed. `training_type`: a job names the tier that it trains in.
    `hosting_costs`: a model that is ready to answer costs money by the hour, asked or not.
    """

    title: str
    deploys: bool = False
    training_type: bool = False
    hosting_costs: bool = False
    min_rows: int = 1
    max_file_mib: int | None = None


# Limits: developers.openai.com/api/docs/guides/supervised-fine-tuning (10 rows, 512 MB a file), and
# learn.microsoft.com/azure/foundry/openai/how-to/fine-tuning (the same), both read in November 2026.
CAPABILITIES: dict[ProviderKind, Capabilities] = {
    "local": Capabilities(title="this project's model server"),
    "openai": Capabilities(title="OpenAI", min_rows=10, max_file_mib=512),
    "azure": Capabilities(
        title="Azure", deploys=True, training_type=True, hosting_costs=True, min_rows=10, max_file_mib=512
    ),
    "compatible": Capabilities(title="a server of OpenAI's shape"),
}


def limit_broken(kind: ProviderKind, split: str, rows: int, size: int) -> str | None:
    """Return in words how a file of rows breaks a provider's limits, or None; `size` is in bytes."""
    able = CAPABILITIES[kind]
    if rows < able.min_rows:
        return f"{able.title} wants at least {able.min_rows} rows, and the {split} file has {rows}"
    if able.max_file_mib is not None and size > able.max_file_mib * 2**20:
        return f"{able.title} takes files of up to {able.max_file_mib} MiB, and the {split} file has {size / 2**20:.0f}"
    return None
