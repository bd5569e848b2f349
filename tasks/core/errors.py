"""The errors of the loop, one tree.

    ZavaError
    ├── ConfigError          a profile, an override or an environment variable is wrong
    ├── DataError            a dataset, snapshot or report on disk is missing or broken
    ├── ServiceError         something that should listen does not, or a port is taken
    ├── ProviderError        the model provider refused or broke its contract
    │   └── TrainingFailedError   a fine-tuning job ended without a usable model
    └── EvaluationError      two results cannot be compared, or nothing could be measured

Every message says what, which and what to do next. None overrides `__init__`: Prefect pickles what it persists.
"""


class ZavaError(Exception):
    """Base of everything that the loop raises on purpose; the command line prints it without a traceback."""


class ConfigError(ZavaError):
    """A profile, an override or an environment variable is wrong."""


class DataError(ZavaError):
    """A dataset, snapshot or report on disk is missing or broken."""


class ServiceError(ZavaError):
    """Something that should listen does not, or a port is taken."""


class ProviderError(ZavaError):
    """The model provider refused a request or broke its contract."""


class TrainingFailedError(ProviderError):
    """A fine-tuning job ended without a usable model."""


class EvaluationError(ZavaError):
    """Two results cannot be compared, or nothing could be measured."""
