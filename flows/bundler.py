"""Begins runs in Prefect for many who ask at once: those who wait are asked for together, in one transaction.

One call at a time: Prefect's database takes writes one by one, so that calls side by side only hold each other up. What
comes during a call goes into the next one, so that a bundle is as large as Prefect is slow.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentFlowRunCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

log = logging.getLogger(__name__)

# Of a bundle, which Prefect bounds to 100; of those who wait; of a call and of a wait in all, in seconds.
BUNDLE = 25
MOST_WAITING = 1000
# Prefect on SQLite may stand still for the 60 s that it lets a connection wait for the lock: its event loop drops a
# cursor of that connection and waits for it too (so say its stacks), while the transaction that holds the lock, it
# seems, waits for the loop. A call outlasts that, and whoever waits outlasts the call.
CALL_S = 75.0
WAIT_S = 100.0
# Prefect on SQLite reads before it writes, and is refused ("database is locked") where it wrote elsewhere in between.
# What is refused is asked for again, in smaller bundles, which take less time; for so long from the first refusal on,
# with such pauses.
RETRY_S = 30.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
# The last two: something else than Prefect answered.
AWAY = (httpx.HTTPError, PrefectHTTPStatusError, TimeoutError, ValueError, KeyError)


class BusyError(Exception):
    """Prefect takes no run now; the same may be asked for later."""


class _Waiting(NamedTuple):
    """Who waits for a run of which flow."""

    flow: str
    wanted: DeploymentFlowRunCreate
    run: "asyncio.Future[UUID]"


class Bundler:
    """Begins runs of the deployments of one name."""

    def __init__(self, deployment: str) -> None:
        """Name the deployments; each flow has one."""
        self._name = deployment
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(MOST_WAITING)
        self._deployments: dict[str, UUID] = {}
        self._size = BUNDLE
        self._client: PrefectClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the connection to Prefect, and call it for whoever waits."""
        # Prefect's own limit, of a minute, is that of the standstill.
        async with get_client(httpx_settings={"timeout": CALL_S}) as client, asyncio.TaskGroup() as group:
            self._client = client
            calling = group.create_task(self._call_for_all())
            yield
            calling.cancel()

    @property
    def prefect(self) -> PrefectClient:
        """The client of Prefect's server, for as long as this is open."""
        if self._client is None:
            raise RuntimeError("The connection to Prefect is not open.")
        return self._client

    async def begin(self, flow: str, parameters: dict[str, Any], tags: list[str], key: str) -> UUID:
        """Return the id of a run, the same one for the same flow and key.

        Raises:
            BusyError: Prefect does not answer, refuses, or too many wait. The run may begin all the same.
        """
        wanted = DeploymentFlowRunCreate(parameters=parameters, tags=tags, idempotency_key=key)
        waiting = _Waiting(flow, wanted, asyncio.get_running_loop().create_future())
        try:
            self._waiting.put_nowait(waiting)
            return await asyncio.wait_for(waiting.run, WAIT_S)
        except (asyncio.QueueFull, TimeoutError) as error:
            raise BusyError(f"{self._waiting.qsize()} wait for Prefect") from error

    async def _call_for_all(self) -> None:
        while True:
            bundle = [await self._waiting.get()]
            while len(bundle) < BUNDLE and not self._waiting.empty():
                bundle.append(self._waiting.get_nowait())
            # Whoever was given up meanwhile will come again.
            asked = sorted((one for one in bundle if not one.run.done()), key=lambda one: one.flow)
            for flow, together in groupby(asked, key=lambda one: one.flow):
                await self._call(flow, list(together))

    async def _call(self, flow: str, bundle: list[_Waiting]) -> None:
        """Begin the runs of a bundle; what is refused is asked for again."""
        pause_s, ends = FIRST_PAUSE_S, math.inf
        while left := [one for one in bundle if not one.run.done()]:
            part = left[: self._size]
            try:
                results = await self._results(flow, part)
            except ObjectNotFound as error:
                # Asking again would keep up everybody else.
                self._deployments.clear()
                _give_up(left, f"{flow}/{self._name} is not deployed; run `zava deploy` ({error!r})")
                return
            for one, result in zip(part, results, strict=True):
                if result.get("flow_run_id") and not one.run.done():
                    one.run.set_result(UUID(result["flow_run_id"]))
            refused = [str(result.get("error")) for result in results if not result.get("flow_run_id")]
            if not refused:
                self._size, pause_s = min(2 * self._size, BUNDLE), FIRST_PAUSE_S
                continue
            ends = min(ends, anyio.current_time() + RETRY_S)
            if anyio.current_time() > ends:
                _give_up(left, refused[0])
                return
            self._size = max(self._size // 2, 1)
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _results(self, flow: str, bundle: list[_Waiting]) -> list[dict[str, Any]]:
        try:
            with anyio.fail_after(CALL_S):
                return await self._created(flow, [one.wanted for one in bundle])
        except AWAY as error:
            self._deployments.clear()
            return [{"error": repr(error)}] * len(bundle)

    async def _created(self, flow: str, wanted: list[DeploymentFlowRunCreate]) -> list[dict[str, Any]]:
        if flow not in self._deployments:
            found = await self.prefect.read_deployment_by_name(f"{flow}/{self._name}")
            self._deployments[flow] = found.id
        # Asked for directly: the client has no call for it.
        answer = await self.prefect.request(
            "POST",
            "/deployments/{id}/create_flow_run/bulk",  # type: ignore[arg-type]
            path_params={"id": self._deployments[flow]},
            json=[one.model_dump(mode="json", exclude_unset=True) for one in wanted],
        )
        results: list[dict[str, Any]] = answer.json()["results"]
        if len(results) != len(wanted):
            raise ValueError(f"{len(results)} results for {len(wanted)} runs")
        return results


def _give_up(waiting: list[_Waiting], why: str) -> None:
    for one in waiting:
        if not one.run.done():
            one.run.set_exception(BusyError(why))
