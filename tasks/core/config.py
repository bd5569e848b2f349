"""A profile: one YAML file, validated, that says everything about a run but its secrets."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from tasks.core.endpoints import IN_ORDER, Positive, ProviderConfig, ServicesConfig, TeacherConfig
from tasks.core.errors import ConfigError
from tasks.core.operation import DeploymentConfig
from tasks.core.promotion_rules import PromotionRules
from tasks.core.record import Record
from tasks.core.scenario import Hurdle, Intent, Trap
from tasks.core.storage import StorageConfig

# What lies in `configs/` beside the profiles.
NO_PROFILES = frozenset({"prices", "sunset"})
Share = Annotated[float, Field(ge=0, le=1)]
# `format` comes first: the others count on it.
Gate = Literal["format", "policy", "provenance", "length", "execution", "goal", "duplicate", "near_duplicate"]


class WorldConfig(Record):
    """Where the agent works: the shop of this project, or any MCP server, given by `command` or `url`."""

    shop_seed: int = Field(7, description="Seed of the generated shop.")
    snapshot: Path | None = Field(None, description="A snapshot file to import instead of generating the shop.")
    command: tuple[str, ...] = Field(
        (), description="Starts an MCP server on standard input and output; every conversation gets a fresh process."
    )
    url: str | None = Field(None, description="Of an MCP server over HTTP, such as http://127.0.0.1:9000/mcp.")
    api_key_env: str | None = Field(None, description="Variable with the bearer key that a server by url asks for.")
    policy: Path | None = Field(None, description="Text file with the agent's system prompt; a server needs one.")
    hints: Path | None = Field(None, description="YAML file that says who the customers of a server are and want.")
    reset_tool: str | None = Field(
        None, description="Tool that puts the server back to its start; called before each conversation, never shown."
    )
    read_only: tuple[str, ...] | None = Field(
        None, description="Tools that change nothing; left out: those that the server marks so."
    )
    retrain: bool = Field(
        False,
        description="Let `zava reconcile` train anew once policy or tools are not those that the last model learned.",
    )

    @property
    def has_server(self) -> bool:
        """Whether the world is an MCP server of the user's own."""
        return bool(self.command or self.url)

    @model_validator(mode="after")
    def _one_world(self) -> Self:
        if self.command and self.url:
            raise ValueError("name the server by command or by url, not by both")
        if self.api_key_env and not self.url:
            raise ValueError("api_key_env is of a server by url")
        if self.has_server and self.policy is None:
            raise ValueError("a server needs a policy, the file with the agent's system prompt")
        if self.has_server and self.snapshot:
            raise ValueError("a snapshot is of the shop; a server brings its own records")
        if not self.has_server and (self.policy or self.hints or self.reset_tool or self.read_only is not None):
            raise ValueError("policy, hints, reset_tool and read_only are of a server; give its command or url")
        return self


class SynthesisConfig(Record):
    """How many conversations are played, and of what kind."""

    train_conversations: Positive = Field(1500, description="Conversations with training customers and phrasing.")
    valid_conversations: Positive = Field(60, description="Conversations with validation customers, training phrasing.")
    heldout_conversations: Positive = Field(100, description="Conversations with unseen customers and unseen phrasing.")
    intents: dict[Intent, float] = Field({}, description="Weight of each intent in the mix; of the shop alone.")
    max_requests: Annotated[int, Field(ge=1, le=3)] = Field(3, description="Most requests in one conversation.")
    trap_rate: Share = Field(0.15, description="Share of requests that the policy refuses.")
    traps: tuple[Trap, ...] = Field(
        ("foreign_order", "wrong_state", "unacceptable_reason", "changes_mind"),
        description="The kinds of refused requests; the default ones are those that the small model was made for.",
    )
    hurdles: dict[Hurdle, Share] = Field(
        default_factory=dict,
        description="Share of the conversations that have each difficulty, of those that it fits; none by default.",
    )
    noise_rate: Share = Field(0.25, description="Share of customer turns with small talk around them.")
    max_result_chars: Positive = Field(
        4000, description="Most characters of tool results in a conversation: the window of a small model is short."
    )
    coverage: dict[str, Positive] = Field(
        default_factory=dict,
        description="Fewest training examples by 'tool outcome rule', such as 'cancel_pending_order refused "
        "wrong_state'; what is missing the expert plays on top. Of the shop alone.",
    )
    shard_size: Positive = Field(100, description="Conversations per shard; a finished shard is never played again.")

    @property
    def conversations(self) -> int:
        """All conversations that are wanted."""
        return self.train_conversations + self.valid_conversations + self.heldout_conversations


class ValidationConfig(Record):
    """Which gates a conversation must pass, and how many must get through."""

    gates: tuple[Gate, ...] = Field(get_args(Gate), description="In this order; a conversation stops at the first.")
    max_tokens: Positive = Field(65_536, description="Most tokens of a row, estimated: what hosted providers take.")
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="Share of word triples that makes two conversations with the same calls near duplicates."
    )
    private: Annotated[frozenset[str], IN_ORDER] = Field(
        frozenset({"user_id", "order_id", "email", "payment_method_id"}),
        description="Arguments whose values belong to one customer and must not be on both sides of the split.",
    )
    max_overlap: Share = Field(
        0.1, description="Largest share of the held-out customers' runs of eight words that training may hold too."
    )
    min_yield: Share = Field(0.9, description="Smallest share of conversations that must pass; less stops the run.")


class TrainingConfig(Record):
    """What is trained, and how long the loop waits for it."""

    base_model: str = Field(description="The model to train, by the provider's name; here a folder of services.models.")
    suffix: str = Field("retail", pattern=r"^[A-Za-z0-9-]{1,40}$", description="Part of the tuned model's id.")
    n_epochs: Literal["auto"] | Positive = Field(
        "auto", description="Passes over the rows; auto: the provider's choice."
    )
    batch_size: Literal["auto"] | Positive = Field("auto", description="Rows a step; auto: the provider's choice.")
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto", description="Of the provider's own rate; auto: its choice."
    )
    seed: int = Field(7, description="Of the job: the order of the rows, and new weights.")
    checkpoint_decisions: Annotated[int, Field(ge=0)] = Field(
        0, description="Decisions of the validation split to choose the best checkpoint by; 0: the last one goes on."
    )
    max_cost: Annotated[float, Field(ge=0)] | None = Field(
        None, description="In US dollars, evaluation included; a run that would cost more, by estimate, is refused."
    )
    poll_seconds: float = Field(2.0, gt=0, description="Pause between two reads of the job.")
    deadline_minutes: float = Field(60.0, gt=0, description="A job older than this is cancelled and reported.")
    stall_minutes: float = Field(10.0, gt=0, description="A running job silent for this long is reported as stalled.")


class SunsetConfig(Record):
    """What to do about a base model that its provider is about to retire."""

    action: Literal["warn", "refuse"] = Field("warn", description="Only tell, or end the run before it pays.")
    days: Annotated[int, Field(ge=0)] = Field(60, description="How long before the date.")
    successor: str | None = Field(
        None, description="The base model that `zava reconcile` trains when the time has come; empty: it only tells."
    )


class ArmConfig(Record):
    """A model or a way of asking that is measured beside base and tuned, on the same decisions."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="Under which reports show it.")
    model: str = Field("base", description="'base' or 'tuned' of the run, or the id of another model.")
    prompt: Literal["policy", "short"] = Field("policy", description="The recorded system prompt, or short_prompt.")
    examples: int = Field(0, ge=0, le=20, description="Similar moves of the training rows to show in the prompt.")
    provider: ProviderConfig | None = Field(None, description="Where the model is served, if not where base is.")


class EvaluationConfig(Record):
    """How decisions are asked and how sure the answer must be."""

    concurrency: Positive = Field(4, description="Requests in flight.")
    timeout_s: float = Field(60.0, gt=0, description="An item slower than this counts as a failure.")
    max_completion_tokens: Positive = Field(256, description="Most tokens of an answer.")
    seed: int = Field(7, description="Of the answers, where the provider honours it, and of the resamples.")
    bootstrap_samples: Positive = Field(2000, description="Resamples, clustered by conversation.")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="Of the intervals and of the tests.")
    wanted_difference: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="The smallest difference worth telling; the report says how many decisions would tell it."
    )
    arms: tuple[ArmConfig, ...] = Field(
        (), description="Measured beside base and tuned; each costs a whole evaluation."
    )
    short_prompt: str = Field(
        "You are the customer service agent of a shop. Serve the customer with the tools that you have.",
        description="System prompt of the arms that do without the policy.",
    )
    power: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.8, description="Chance of telling such a difference.")

    @field_validator("arms")
    @classmethod
    def _check_names(cls, arms: tuple[ArmConfig, ...]) -> tuple[ArmConfig, ...]:
        names = ["base", "tuned", *(arm.name for arm in arms)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two arms are named {twice[0]!r}; base and tuned are there already")
        return arms


class ReplayConfig(Record):
    """The replay family: stories like Noah Brown's that base and tuned are held against."""

    folder: Path = Field(Path("configs/replay"), description="Of the frozen members, JSON lines; `zava replay add`.")
    seeds: int = Field(1, ge=0, description="Stories of each kind that a run plays; the pack holds five. 0: none.")


class TrackingConfig(Record):
    """Where runs are recorded."""

    mlflow_uri: str = Field("", description="Empty: the MLflow server of `zava up`.")
    experiment: str = Field("zava-retail", description="Of MLflow; one retraining of it runs at a time.")


class Profile(Record):
    """One run's whole configuration."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="Of the profile, its runs and deployments.")
    seed: int = Field(7, description="Of the scenarios; the same seed gives the same conversations.")
    workspace: Path = Field(Path(".zava"), description="Folder for datasets, state and logs; made when missing.")
    world: WorldConfig = WorldConfig()
    synthesis: SynthesisConfig
    teacher: TeacherConfig | None = Field(None, description="Left out: the expert plays, without any model.")
    validation: ValidationConfig = ValidationConfig()
    provider: ProviderConfig
    training: TrainingConfig
    sunset: SunsetConfig = SunsetConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    replay: ReplayConfig = ReplayConfig()
    promotion: PromotionRules = PromotionRules()
    tracking: TrackingConfig = TrackingConfig()
    storage: StorageConfig = StorageConfig()
    services: ServicesConfig = ServicesConfig()
    deployment: DeploymentConfig = DeploymentConfig()

    @model_validator(mode="before")
    @classmethod
    def _fill_in_local_addresses(cls, raw: Any) -> Any:
        """Let a profile name each port once: an address left out is that of the service that `zava up` starts."""
        if not isinstance(raw, dict):
            return raw
        services, provider, tracking = raw.get("services", {}), raw.get("provider"), raw.get("tracking", {})
        filled = dict(raw)
        if isinstance(provider, dict) and provider.get("kind", "local") == "local" and not provider.get("base_url"):
            filled["provider"] = {**provider, "base_url": f"http://127.0.0.1:{_port(services, 'model_port')}/v1"}
        if isinstance(tracking, dict) and not tracking.get("mlflow_uri"):
            filled["tracking"] = {**tracking, "mlflow_uri": f"http://127.0.0.1:{_port(services, 'mlflow_port')}"}
        return filled

    @model_validator(mode="after")
    def _can_be_played(self) -> Self:
        if self.world.has_server and self.teacher is None:
            raise ValueError("the expert knows only the shop; a world with a server needs a teacher")
        if not self.world.has_server and not any(self.synthesis.intents.values()):
            raise ValueError("synthesis.intents names nothing that a customer of the shop could want")
        if self.world.has_server and (self.synthesis.intents or self.synthesis.coverage):
            raise ValueError("synthesis.intents and coverage are of the shop; a server's wishes are in world.hints")
        return self


def _port(services: Any, name: str) -> Any:
    default = getattr(ServicesConfig(), name)
    return services.get(name, default) if isinstance(services, dict) else getattr(services, name, default)


def load_profile(name_or_path: str, overrides: tuple[str, ...] = ()) -> Profile:
    """Read `configs/NAME.yaml` or a file by path, and apply `section.key=value` overrides (values are YAML).

    Raises:
        ConfigError: The file is missing or not YAML, or a key or value is wrong; the message names the nearest key.
    """
    path = _find(name_or_path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read profile {str(path)!r}: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"Profile {str(path)!r} is not a mapping of sections; see configs/local.yaml.")
    for override in overrides:
        _apply(raw, override)
    return _validated(raw, str(path))


def overridden(profile: Profile, values: Mapping[str, Any]) -> Profile:
    """Return a profile with other values for some of its dotted keys.

    Raises:
        ConfigError: A key or value is wrong; the message names the nearest key.
    """
    raw = profile.model_dump(mode="json")
    for key, value in values.items():
        _put(raw, key, value)
    return _validated(raw, profile.name)


def _validated(raw: dict[str, Any], name: str) -> Profile:
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"Profile {name!r}: {_explain(error)}") from error


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise ConfigError(f"No profile file {name_or_path!r}.")
    named = Path("configs") / f"{name_or_path}.yaml"
    if named.is_file():
        return named
    have = sorted(p.stem for p in Path("configs").glob("*.yaml") if p.stem not in NO_PROFILES)
    raise ConfigError(f"No profile {name_or_path!r}. Profiles in configs/: {', '.join(have) or 'none'}.")


def _apply(raw: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"Override {override!r} is not of the form section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Override {override!r}: {text!r} is not a YAML value: {error}") from error
    _put(raw, key, value)


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"Override {key!r}: {section!r} is a value, not a section.")
    target[last] = value


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(problem["loc"][-1]), _keys_at(problem["loc"][:-1]), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_keys_at(problem['loc'][:-1]))}"
            lines.append(f"unknown key {where!r}{hint}")
        else:
            lines.append(f"{where}: {problem['msg']} (got {problem['input']!r})")
    return "; ".join(lines) + "."


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Profile
    for part in location:
        annotation = _without_none(model.model_fields[str(part)].annotation)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _without_none(annotation: Any) -> Any:
    """Return the one type of an optional field."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 and type(None) in get_args(annotation) else annotation


def api_key(provider: ProviderConfig) -> str:
    """Return the provider's key from the environment; the local server may run without one.

    Raises:
        ConfigError: The provider needs a key and its variable is not set.
    """
    key = os.environ.get(provider.api_key_env, "")
    if not key and provider.kind != "local":
        raise ConfigError(f"Provider {provider.kind!r} needs a key: set the variable {provider.api_key_env}.")
    return key or "local"
