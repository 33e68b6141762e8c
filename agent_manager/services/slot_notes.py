"""What the launcher's slots say of their instances, for the next manager: told once for all that a moment changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent_manager.domain.instances import Instance
from agent_manager.ports.launcher import Launcher


class SlotNotes:
    """Tells the launcher at the end of a turn of the event loop, or at once (`tell`).

    A launch takes along what is known of its instance when it is asked for; nothing is told before.
    """

    def __init__(self, launcher: Launcher, present: Callable[[str], Instance | None]) -> None:
        """`present` is the instance of an id as it is now."""
        self._launcher = launcher
        self._present = present
        self._unasked: set[str] = set()
        self._untold: dict[str, Instance] = {}

    def will_be_asked_for(self, launch_id: str) -> None:
        """The launcher is going to be asked for this launch, once it is its turn."""
        self._unasked.add(launch_id)

    def is_asked_for(self, launch_id: str) -> None:
        """From now on the slot carries this launch, or the launch is given up."""
        self._unasked.discard(launch_id)

    def awaits(self, launch_id: str | None) -> bool:
        """Whether the launcher has still to be asked for this launch."""
        return launch_id in self._unasked

    def changed(self, instance: Instance) -> None:
        """The instance is another than before."""
        if self.awaits(instance.launch_id):
            return
        if not self._untold:
            loop = asyncio.get_running_loop()
            # A turn later: by then a launch that need not wait for its turn has been asked for.
            loop.call_soon(loop.call_soon, self.tell)
        self._untold[instance.id] = instance

    def tell(self) -> None:
        """Tell what has not been told yet."""
        untold, self._untold = self._untold, {}
        for instance_id, instance in untold.items():
            present = self._present(instance_id)
            if present is None:
                continue
            if present.launch_id == instance.launch_id or self.awaits(present.launch_id):
                self._launcher.update(instance)
