"""`python -m infra.services.probe`: is the service of this container healthy? Asks the address in ZAVA_HEALTH_URL."""

import os
import sys

from infra.services.ports import answers

VARIABLE = "ZAVA_HEALTH_URL"


def main() -> int:
    """Return 0 where the service answers, and 1 where it does not or no address is set."""
    url = os.environ.get(VARIABLE)
    if not url:
        sys.stderr.write(f"Set {VARIABLE} to the address that tells whether the service is healthy.\n")
        return 1
    return 0 if answers(url, timeout_s=5.0) else 1


if __name__ == "__main__":
    sys.exit(main())
