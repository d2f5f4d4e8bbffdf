"""The machines that train together, as TF_CONFIG names them: set by hand, by Kubeflow or by Vertex AI."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from scalecli.errors import ConfigurationError

_CHIEFS = ("chief", "master")
_WORKERS = (*_CHIEFS, "worker")
_OTHERS = {
    "ps": "scalecli trains without parameter servers",
    "evaluator": "scalecli validates while it trains, without an evaluator",
}
_EXPECTED = (
    "TF_CONFIG: expected {'cluster': {'chief': [ADDRESS], 'worker': [ADDRESS, ...]}, 'task': {'type': 'worker', "
    "'index': N}}, with or without a chief (or master)"
)


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, a chief's first, and the index of this process; no addresses without a cluster."""

    addresses: tuple[str, ...] = ()
    index: int = 0

    def __len__(self) -> int:
        return len(self.addresses)

    def check_joined(self, processes: int, by: str) -> None:
        """Raises ConfigurationError where fewer processes would train together than the cluster has workers."""
        if processes < len(self):
            raise ConfigurationError(
                f"TF_CONFIG names {len(self)} workers, and {by} joins {processes} of them; leave the strategy at auto, "
                "or unset TF_CONFIG to train on this machine alone"
            )


def environment_cluster() -> Cluster:
    """The cluster of TF_CONFIG. A chief or master is a worker like the others; an evaluator stands outside.

    Raises:
        ConfigurationError: TF_CONFIG is malformed, has parameter servers, or this process is none of its workers.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return Cluster()
    try:
        config = json.loads(text)
        if not config.keys() & {"cluster", "sparseCluster"}:
            return Cluster()  # a platform may describe itself, and no cluster
        jobs = {job: _addresses(listed) for job, listed in config["cluster"].items()}
        if not any(jobs.values()):
            return Cluster()
        task = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{_EXPECTED}; it is {text[:200]!r}") from error
    _check(jobs, task)
    workers = [(job, index) for job in _WORKERS for index in range(len(jobs.get(job, ())))]
    if task not in workers:
        raise ConfigurationError(f"{_EXPECTED}; {task[0]} {task[1]} is none of its {len(workers)} workers")
    return Cluster(tuple(jobs[job][index] for job, index in workers), workers.index(task))


def _addresses(listed: object) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(address, str) for address in listed):
        raise TypeError("no list of addresses")
    return listed


def _check(jobs: dict[str, list[str]], task: tuple[str, int]) -> None:
    """Raises ConfigurationError for tasks that scalecli has no use for, several chiefs, and an address twice."""
    for job, reason in _OTHERS.items():
        if task[0] == job or (job == "ps" and jobs.get(job)):
            raise ConfigurationError(f"TF_CONFIG has a task of type {job}: {reason}; leave it out of the cluster")
    if unknown := sorted(jobs.keys() - {*_WORKERS, *_OTHERS}):
        raise ConfigurationError(f"{_EXPECTED}; it has tasks of type {', '.join(map(repr, unknown))}")
    if sum(len(jobs.get(job, ())) for job in _CHIEFS) > 1:
        raise ConfigurationError(f"{_EXPECTED}; it has several chiefs")
    addresses = [address for job in _WORKERS for address in jobs.get(job, ())]
    if len(set(addresses)) < len(addresses):
        raise ConfigurationError(f"{_EXPECTED}; an address stands there twice")
