"""How a profile runs by itself: on which work pool, when, and what becomes of a run that fails or is lost."""

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from tasks.core.record import Record

# What needs nothing but a profile, and so can begin by the clock.
ScheduledFlow = Literal["retrain", "reconcile"]
PoolType = Literal["process", "docker", "kubernetes", "ecs"]
Hook = Literal["retrain", "contract", "transcript", "provider"]
# No message from outside says where things are, who is asked, or what it may cost.
SETTABLE = re.compile(r"seed|synthesis\.\w+|training\.(n_epochs|batch_size|learning_rate_multiplier|seed)")


class ScheduleConfig(Record):
    """When a flow begins by itself."""

    cron: str = Field(description="Minute, hour, day of month, month, day of week, such as '0 3 * * 0'.")
    timezone: str = Field("UTC", description="In which the hours are meant, such as Europe/Berlin.")
    jitter_minutes: float = Field(
        0.0, ge=0, le=180, description="A run waits a random part of this first, so that not all begin at once."
    )

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("no such time zone; one is Europe/Berlin") from error
        return name


class HookConfig(Record):
    """Which messages a hook takes."""

    parameters: tuple[str, ...] = Field(
        (), description="Keys of the profile that a message may set, such as synthesis.intents; none by default."
    )
    per_minute: Annotated[int, Field(ge=1)] = Field(30, description="More signed messages than this are put off.")

    @field_validator("parameters")
    @classmethod
    def _are_settable(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [key for key in keys if not SETTABLE.fullmatch(key)]:
            raise ValueError(f"no message may set {wrong[0]!r}; only keys of synthesis, of how long to train, and seed")
        return keys


class DeploymentConfig(Record):
    """What `zava deploy` registers."""

    pool: str = Field("zava", min_length=1, description="Prefect's work pool; made when missing.")
    pool_type: PoolType = Field("process", description="Where runs happen: as processes of a worker, or in containers.")
    job_variables: dict[str, Any] = Field(
        default_factory=dict, description="For the pool's type, such as {image: ...}; Prefect names them."
    )
    folder: str | None = Field(None, description="Where the project lies for the worker; left out: where it lies here.")
    schedules: dict[ScheduledFlow, ScheduleConfig] = Field(default_factory=dict, description="None: only when asked.")
    overlap: Literal["queue", "skip"] = Field(
        "queue", description="What a retraining does while another one of the same experiment runs."
    )
    retries: Annotated[int, Field(ge=0)] = Field(2, description="How often `reconcile` begins a lost run again.")
    lost_after_s: float = Field(240.0, ge=90, description="A run that gives no sign of life for this long is lost.")
    alerts: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="A Prefect block, such as slack-webhook/team or webhook/pager, told of failed, late or lost runs.",
    )
    hooks: dict[Hook, HookConfig] = Field(
        default_factory=dict, description="What messages from outside may begin; `zava up` receives them."
    )
