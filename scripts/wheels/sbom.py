"""The list of what a wheel's extension is made of, in CycloneDX's JSON, for `*.dist-info/sboms/` (PEP 770)."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Component:
    name: str
    version: str
    license: str  # SPDX
    purl: str
    sha256: str = ""


def document(name: str, version: str, under: str, components: list[Component]) -> str:
    """Without times and random numbers, so that equal wheels have equal lists."""
    main = entry(Component(name, version, under, f"pkg:pypi/{name}@{version}")) | {"type": "application"}
    parts = [entry(component) for component in components]
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": main},
            "components": parts,
            "dependencies": [
                {"ref": main["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
                *({"ref": part["bom-ref"]} for part in parts),
            ],
        },
        indent=2,
    )


def entry(component: Component) -> dict[str, object]:
    hashes = {"hashes": [{"alg": "SHA-256", "content": component.sha256}]} if component.sha256 else {}
    return {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "licenses": [{"expression": component.license}],
        "purl": component.purl,
        **hashes,
    }
