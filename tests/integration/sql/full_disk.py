"""A process whose files may not grow, for a while: prints what the store answered before, meanwhile, and afterwards.

Usage: full_disk.py URL
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from dataclasses import replace

from agent_manager.adapters.sql.sqlite import SqliteStore
from agent_manager.domain.errors import UnavailableError
from tests.contract.store_values import event

LARGE = replace(event("large"), data={"filling": "x" * 100_000})


async def attempt(store: SqliteStore) -> str:
    outcomes = await asyncio.gather(
        *(store.write(lambda t: t.append_event(LARGE)) for _ in range(5)), return_exceptions=True
    )
    failures = {str(outcome) for outcome in outcomes if isinstance(outcome, UnavailableError)}
    others = [outcome for outcome in outcomes if isinstance(outcome, BaseException) and str(outcome) not in failures]
    return f"{others}" if others else "; ".join(failures) or "written"


async def main(url: str) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with SqliteStore(url) as store:
        answers = [await attempt(store)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, unlimited[1]))
        answers += [await attempt(store), await attempt(store)]
        kept = len(await store.read(lambda t: t.events(0, 100)))
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        answers.append(await attempt(store))
    sys.stdout.write(json.dumps({"answers": answers, "kept_while_full": kept}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
