"""The deployments of a profile as a `prefect.yaml`, for those who register them by `prefect deploy`."""

from pathlib import Path
from typing import Any

import yaml
from prefect.flows import Flow

from flows.deployments import FLOWS, OVERLAP, TRAINING, entrypoint, job_variables, schedules, tags
from tasks.core.config import Profile

HEAD = """\
# Made by `zava deploy --profile {name} --file FILE`, which makes it anew after a change of the profile.
# From the folder of the project: prefect work-pool create {pool} --type {pool_type}
#                                 prefect --no-prompt deploy --all --prefect-file FILE
# What `zava deploy` does beyond: one retraining of an experiment at a time over all its deployments (here each has a
# limit of its own), results in the bucket of the store, the automations for lost and failed runs, and a look whether
# the scheduler makes runs.
"""


def prefect_file(profile: Profile) -> str:
    """Return the file's text.

    Raises:
        ConfigError: A cron expression is wrong.
    """
    # One object, so that YAML writes it once and refers to it; what is not said in it is filled in by each run.
    shown = profile.model_dump(mode="json", exclude_defaults=True)
    content = {
        "name": "zava",
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": _folder(profile)}}],
        "deployments": [_deployment(profile, shown, flow) for flow in FLOWS],
    }
    config = profile.deployment
    head = HEAD.format(name=profile.name, pool=config.pool, pool_type=config.pool_type)
    return head + yaml.dump(content, sort_keys=False, width=120, allow_unicode=True)


def _folder(profile: Profile) -> str:
    return profile.deployment.folder or str(Path.cwd())


def _deployment(profile: Profile, shown: dict[str, Any], flow: Flow[..., Any]) -> dict[str, Any]:
    config = profile.deployment
    entry: dict[str, Any] = {
        "name": profile.name,
        "description": flow.description,
        "entrypoint": entrypoint(flow),
        "tags": tags(profile),
        "parameters": {"profile": shown},
        "enforce_parameter_schema": False,
        "work_pool": {"name": config.pool, "job_variables": job_variables(profile, {})},
    }
    if clocks := schedules(profile, flow):
        entry["schedules"] = [
            {**clock.schedule.model_dump(include={"cron", "timezone"}), "slug": clock.slug, "active": clock.active}
            for clock in clocks
        ]
    if flow.name in TRAINING:
        entry["concurrency_limit"] = {"limit": 1, "collision_strategy": OVERLAP[config.overlap].value}
    return entry
