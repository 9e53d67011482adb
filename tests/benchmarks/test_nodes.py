"""benchmarks.nodes over a small made-up index: every order is drawn and every way to fetch is counted."""

from __future__ import annotations

import pytest

from benchmarks import nodes


def test_tables_and_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "STEPS", 3)
    index = nodes.Index.of({"adm": (6_000, 6_000), "sd14": (6_000, 6_000)})
    assert len(index.shard) == len(index.label) == len(index.kind) == 24_000
    assert index.paths[0] == "adm/train/adm-train-00000.tar"
    random = {f"{order}, {n}": nodes.strays(index, order, n) for order in nodes.ORDERS for n in nodes.NODES[:2]}
    assert "| nodes, 8 |" in nodes.stray_table(random)
    money = nodes.traffic(index, "nodes", 2)
    assert money.first > 0
    assert nodes.traffic(index, "full", 2).requests == 24_000
