"""The errors of the loop, one tree.

    ZavaError
    ├── ConfigError          a profile, an override or an environment variable is wrong
    ├── DataError            a dataset, snapshot or report on disk is missing or broken
    ├── StorageError         the artifact store refuses something, lacks it, or holds something else under its name
    ├── SynthesisError       a teacher could not play a scenario, or no scenario could be drawn
    │   └── BudgetSpentError      the models of synthesis have used up what they may
    ├── ServiceError         something that should listen does not, or a port is taken
    ├── ProviderError        the model provider refused or broke its contract
    │   ├── ProviderUnavailableError   the provider is busy or out of reach; the same request may succeed later
    │   └── TrainingFailedError   a fine-tuning job ended without a usable model
    ├── MessageError         a message from outside is not signed, or asks for what it may not
    ├── EvaluationError      two results cannot be compared, or nothing could be measured
    └── PromotionError       a promotion or a rollback is not possible as things stand

Every message says what, which and what to do next. None overrides `__init__`: Prefect pickles what it persists.
"""


class ZavaError(Exception):
    """Base of everything that the loop raises on purpose; the command line prints it without a traceback."""


class ConfigError(ZavaError):
    """A profile, an override or an environment variable is wrong."""


class DataError(ZavaError):
    """A dataset, snapshot or report on disk is missing or broken."""


class StorageError(ZavaError):
    """The artifact store refuses something, lacks it, or holds something else under its name."""


class SynthesisError(ZavaError):
    """A teacher could not play a scenario, or no scenario could be drawn."""


class BudgetSpentError(SynthesisError):
    """The models of synthesis have used up the calls, tokens or money that they may."""


class ServiceError(ZavaError):
    """Something that should listen does not, or a port is taken."""


class ProviderError(ZavaError):
    """The model provider refused a request or broke its contract."""


class ProviderUnavailableError(ProviderError):
    """The provider is busy or out of reach; the same request may succeed later."""


class TrainingFailedError(ProviderError):
    """A fine-tuning job ended without a usable model."""


class MessageError(ZavaError):
    """A message from outside is not signed as it should be, or asks for what it may not."""


class EvaluationError(ZavaError):
    """Two results cannot be compared, or nothing could be measured."""


class PromotionError(ZavaError):
    """A promotion or a rollback is not possible as things stand."""
