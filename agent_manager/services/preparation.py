"""Preparation: what a package runs in is made before anything is switched to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from agent_manager.domain.agents import Agent, ManifestFault
from agent_manager.domain.instances import Instance
from agent_manager.ports.packages import (
    EnvironmentNeed,
    Environments,
    FoundPackage,
    PackageSource,
    PreparationError,
    Stage,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Lets environments be made, each in a task of `tasks`, and remembers what could not be made until it is changed.

    What is remembered ends with the manager: the next one tries again, once.
    """

    environments: Environments
    source: PackageSource
    tasks: asyncio.TaskGroup
    _making: set[str] = field(default_factory=set, init=False)
    _failed: dict[str, tuple[str | None, ManifestFault]] = field(default_factory=dict, init=False)

    def prepared(self, found: FoundPackage) -> FoundPackage:
        """The package in its environment; one that cannot be used yet where that has to be made first."""
        need, spec = found.needs, found.spec
        if need is None or spec is None:
            return found
        path = self.environments.ready(need)
        if path is not None:
            self._failed.pop(found.name, None)
            return replace(found, spec=replace(spec, environment=path))
        digest, fault = self._failed.get(found.name, (None, None))
        if fault is not None and digest == found.digest:
            return replace(found, spec=None, faults=(*found.faults, fault), stage=Stage.FAILED)
        if need.key not in self._making:
            self._making.add(need.key)
            self.tasks.create_task(self._make(found, need), name=f"environment of {found.name}")
        return replace(found, spec=None, stage=Stage.PREPARING)

    def retry(self, package: str) -> bool:
        """Try again what has failed for a package; False where nothing has."""
        if self._failed.pop(package, None) is None:
            return False
        self.source.look_again()
        return True

    async def keep_only(
        self, agents: Iterable[Agent], instances: Iterable[Instance], found: Iterable[FoundPackage]
    ) -> None:
        """Let environments go that none of these runs in or is to run in."""
        specs = [agent.spec for agent in agents]
        for instance in instances:
            specs.append(instance.target.spec)
            if instance.launch is not None:
                specs.append(instance.launch.spec)
        specs.extend(package.spec for package in found if package.spec is not None)
        await self.environments.keep_only({spec.environment for spec in specs if spec.environment is not None})

    async def _make(self, found: FoundPackage, need: EnvironmentNeed) -> None:
        fields = {"package": found.name, "environment": need.key}
        log.info("environment_begun", extra=fields)
        try:
            await self.environments.make(need, found.name)
        except PreparationError as error:
            self._failed[found.name] = (found.digest, error.fault)
            log.warning("environment_failed", extra={**fields, "error": error.fault.message})
        else:
            log.info("environment_made", extra=fields)
        finally:
            self._making.discard(need.key)
            self.source.look_again()
