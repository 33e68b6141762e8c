"""`agent-manager doctor`: the findings for people, or as JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from agent_manager.cli.exit_codes import ExitCode
from agent_manager.configuration.program import Flag
from agent_manager.doctor.examination import examine
from agent_manager.doctor.findings import Finding, Severity

_MARKS = {Severity.OK: "ok     ", Severity.WARNING: "warning", Severity.FAULT: "FAULT  "}


def doctor(
    config: Annotated[Path | None, typer.Option("--config", help="The file with the settings.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The node's data directory.")] = None,
    packages: Annotated[Path | None, typer.Option(help="The folder with the agent packages.")] = None,
    database_url: Annotated[str | None, typer.Option(help="The node's database, better kept in DATABASE_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
) -> None:
    """Look at everything a node needs, running or not; say what is wrong and how to mend it. Changes nothing.

    One that runs is looked at with the settings it was started with, and what is given here on top.
    """
    flags = (
        ("--data-dir", "data_dir", data_dir),
        ("--packages", "packages_dir", packages),
        ("--database-url", "database.url", database_url),
    )
    findings = asyncio.run(_findings(config, flags, said=not as_json))
    faults = sum(finding.severity is Severity.FAULT for finding in findings)
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print(f"\n{_summary(len(findings), faults)}")
    raise typer.Exit(ExitCode.FAILED if faults else ExitCode.OK)


async def _findings(config: Path | None, flags: Iterable[Flag], *, said: bool) -> list[Finding]:
    findings = []
    async for finding in examine(os.environ, config=config, flags=flags):
        findings.append(finding)
        if said:
            print(f"{_MARKS[finding.severity]}  {finding.subject}: {finding.message}")
            if finding.remedy is not None:
                print(f"{'':>9}-> {finding.remedy}")
    return findings


def _summary(findings: int, faults: int) -> str:
    if findings == faults == 1:
        return "1 finding, a fault"
    return f"{findings} finding{'' if findings == 1 else 's'}, {faults or 'none'} of them {_faults(faults)}"


def _faults(count: int) -> str:
    return "a fault" if count < 2 else "faults"
