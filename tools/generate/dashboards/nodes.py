"""Panels of Ray's nodes, for every dashboard that has some."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, Panel, lines


def node_memory(width: int = 8) -> Panel:
    """How full the memory of each node is."""
    return lines(
        "Memory of the Ray nodes",
        "Used, of what each node may use; a node over its limit loses processes.",
        "percentunit",
        ("max by (pod, instance) (ray_node_mem_used{NS} / ray_node_mem_total{NS})", "{{pod}} {{instance}}"),
        maximum=1,
        levels=((0, OK), (0.92, BAD)),
        runbook="ScotRayNodeMemory",
        width=width,
    )


def node_cpu() -> Panel:
    """How busy the CPUs of each node are."""
    return lines(
        "CPU of the Ray nodes",
        "Of what each node has.",
        "percent",
        ("max by (pod, instance) (ray_node_cpu_utilization{NS})", "{{pod}} {{instance}}"),
        maximum=100,
    )
