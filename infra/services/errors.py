"""The one error of the local services."""


class ServicesError(Exception):
    """A local service cannot be started, reached or stopped; the message says which, why and what to do."""
