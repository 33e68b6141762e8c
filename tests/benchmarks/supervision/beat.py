"""The agent under test: connects to NATS and says every five seconds that it lives. Nothing of ours in it."""

import asyncio
import os

import nats


async def main() -> None:
    client = await nats.connect(os.environ["BENCH_NATS_URL"])
    while True:
        await client.publish(f"beat.{os.environ['BENCH_NAME']}", str(os.getpid()).encode())
        await asyncio.sleep(5.0)


asyncio.run(main())
