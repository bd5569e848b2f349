"""The scripted model of the clinic as a server: `python -m tests.clinic [PORT]`, until it is ended.

It stands in for a large model where there is no key for one: it plays author, customer and agent by rule.
"""

import sys
import time

from tests.clinic import staff
from tests.fake_provider import FakeProvider, say

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8790
    with FakeProvider(lambda request: staff.play(request) if request else say(""), port=port) as provider:
        print(f"The clinic's staff answers at {provider.base_url}", flush=True)  # noqa: T201
        while True:
            time.sleep(3600)
