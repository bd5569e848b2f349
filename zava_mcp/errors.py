"""The errors of the shop; a model reads most of these messages, so they name the value and the way out.

RetailError
├── NotFoundError    no such customer, order, product, item or payment method
├── PolicyError      the shop's policy forbids the change
├── ArgumentError    the arguments do not fit the tool
├── SandboxError     a sandbox name that cannot be used
├── GenerateError    a shop of that size cannot be generated
├── SnapshotError    a snapshot file is missing or broken
└── StorageError     the database cannot be opened, read or written
"""


class RetailError(Exception):
    """Base of everything that the shop refuses."""


class NotFoundError(RetailError):
    """An id or a contact detail that names nothing in the shop."""


class PolicyError(RetailError):
    """A change that the policy forbids; nothing was changed."""


class ArgumentError(RetailError):
    """Arguments that do not fit the tool; nothing was changed."""


class SandboxError(RetailError):
    """A sandbox name outside the allowed characters or length."""


class GenerateError(RetailError):
    """A request for a shop that the generator cannot make."""


class SnapshotError(RetailError):
    """A snapshot file that is missing or broken; the message names file, record and field."""


class StorageError(RetailError):
    """A database that cannot be opened, read or written; the shop in memory is as before."""
