"""The packages folder, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent_manager.adapters.packages.examination import examine
from agent_manager.adapters.packages.folder_source import package_folders, without_manifest
from agent_manager.adapters.packages.manifest_file import MANIFEST_NAME
from agent_manager.adapters.packages.package_folder import FOLDER_NAME, READABLE_FOLDER
from agent_manager.doctor.findings import Finding, Patient, fault, ok, warning
from agent_manager.documents.problems import printable
from agent_manager.domain.agents import ManifestFault
from agent_manager.ports.packages import FoundPackage


def packages(patient: Patient) -> Iterator[Finding]:
    """The packages folder, and every manifest in it."""
    folder = patient.settings.packages_dir
    if not folder.is_dir():
        yield fault(
            "packages",
            f"the folder {folder} is not there",
            "make it, mount it, or name another (packages_dir, --packages)",
        )
        return
    try:
        folders = package_folders(folder, sorted(os.listdir(folder)))
    except OSError as error:
        yield fault("packages", f"{folder} cannot be listed: {error.strerror or error}", "check who may read it")
        return
    passed_over = [
        each for each in folders if not os.path.lexists(each / MANIFEST_NAME) and without_manifest(each) is None
    ]
    for each in passed_over:
        yield warning(
            f"package {printable(each.name)}",
            f"{printable(str(each))} has no {MANIFEST_NAME} that can be seen: the folder is passed over",
            f"put an {MANIFEST_NAME} into it where it is to be a package: `agent-manager package new` makes one",
        )
    found = [examine(each) for each in folders if each not in passed_over]
    for package in found:
        for wrong in package.faults:
            yield fault(f"package {package.name}", str(wrong), _remedy(package, wrong))
    good = sum(1 for package in found if package.spec is not None)
    if not found:
        yield warning("packages", f"{folder} has none", "copy a package into it: a folder with an agent.yaml")
    elif good:
        yield ok("packages", f"{good} of {len(found)} in {folder} are valid")


def _remedy(package: FoundPackage, wrong: ManifestFault) -> str:
    file = Path(package.path).parent / wrong.file
    if wrong.expected == FOLDER_NAME:
        return f"rename the folder {package.path}: what is needed is {FOLDER_NAME}"
    if wrong.expected == READABLE_FOLDER:
        return f"let the user of the node read {package.path}"
    if wrong.expected == MANIFEST_NAME:
        return f"rename {file} to {MANIFEST_NAME}"
    return f"mend {file}"
