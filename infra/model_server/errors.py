"""The errors of this package.

ModelServerError
├── ApiError                     answers a request; has a status, a code and the parameter at fault
│   ├── InvalidRequestError      400
│   │   ├── UnsupportedError     400, unsupported_parameter
│   │   └── ContextLengthError   400, context_length_exceeded
│   ├── AuthenticationError      401, invalid_api_key
│   ├── NotFoundError            404
│   │   └── ModelNotFoundError   404, model_not_found
│   ├── TooLargeError            413, request_too_large
│   ├── QueueFullError           429, rate_limit_exceeded, with retry-after
│   ├── ModelFailedError         500, model_failed
│   └── StorageFullError         507, storage_full
├── DataInUseError               two servers cannot work on one folder
├── VllmMissingError             the program `vllm` is not installed
├── RenderingError               a conversation cannot be written as tokens for this model
├── DatasetError                 a line of a training file is not what training needs
└── TrainingError                a job cannot go on; the message becomes the job's reason
"""

from typing import ClassVar


class ModelServerError(Exception):
    """The root of this package's errors."""


class ApiError(ModelServerError):
    """Answers a request with an error. Raised as `ApiError(message)` or `ApiError(message, param)`."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    @property
    def message(self) -> str:
        """What is wrong, and with what value."""
        return str(self.args[0])

    @property
    def param(self) -> str | None:
        """The request's field at fault, where one is."""
        return str(self.args[1]) if len(self.args) > 1 else None

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class InvalidRequestError(ApiError):
    """The request is not one that this server can answer."""

    status = 400
    kind = "invalid_request_error"


class UnsupportedError(InvalidRequestError):
    """The request is sound but asks for what this server cannot do."""

    code = "unsupported_parameter"


class ContextLengthError(InvalidRequestError):
    """The prompt, or prompt and answer together, do not fit the model's window."""

    code = "context_length_exceeded"


class AuthenticationError(ApiError):
    """The bearer key is missing or wrong."""

    status = 401
    kind = "invalid_request_error"
    code = "invalid_api_key"


class NotFoundError(ApiError):
    """There is no such file, job or route."""

    status = 404
    kind = "invalid_request_error"


class ModelNotFoundError(NotFoundError):
    """There is no such model."""

    code = "model_not_found"


class TooLargeError(ApiError):
    """The body is larger than this server accepts."""

    status = 413
    kind = "invalid_request_error"
    code = "request_too_large"


class QueueFullError(ApiError):
    """As many requests wait as this server lets wait."""

    status = 429
    kind = "requests"
    code = "rate_limit_exceeded"


class ModelFailedError(ApiError):
    """A model could not be loaded or failed while it answered."""

    code = "model_failed"


class StorageFullError(ApiError):
    """The disk has no room for what was sent."""

    status = 507
    code = "storage_full"


class DataInUseError(ModelServerError):
    """Two servers cannot work on one folder."""


class VllmMissingError(ModelServerError):
    """The program `vllm` is not installed."""


class RenderingError(ModelServerError):
    """A conversation cannot be written as tokens for this model."""


class DatasetError(ModelServerError):
    """A line of a training file is not what training needs."""


class TrainingError(ModelServerError):
    """A job cannot go on. Raised as `TrainingError(message)` or `TrainingError(message, code)`."""

    @property
    def code(self) -> str:
        """The job's error code."""
        return str(self.args[1]) if len(self.args) > 1 else "training_failed"

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])
