"""Panels of Ray's nodes."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, Panel, lines


def node_memory(width: int = 8) -> Panel:
    """The used memory of each node."""
    return lines(
        "Memory of the Ray nodes",
        "Used memory as a share of the node's limit. Ray kills processes of a node over its limit.",
        "percentunit",
        ("max by (pod, instance) (ray_node_mem_used{NS} / ray_node_mem_total{NS})", "{{pod}} {{instance}}"),
        maximum=1,
        levels=((0, OK), (0.92, BAD)),
        runbook="ScotRayNodeMemory",
        width=width,
    )


def node_cpu() -> Panel:
    """The CPU use of each node."""
    return lines(
        "CPU of the Ray nodes",
        "As a share of the node's CPUs.",
        "percent",
        ("max by (pod, instance) (ray_node_cpu_utilization{NS})", "{{pod}} {{instance}}"),
        maximum=100,
    )
