"""Pretraining: does it go on, does it learn, what does it wait for?"""

from __future__ import annotations

from tools.generate.dashboards.nodes import node_cpu, node_memory
from tools.generate.dashboards.panels import BAD, OK, Dashboard, Panel, Query, Row, lines, stat


def _gauge(title: str, description: str, unit: str, name: str, **more: object) -> Panel:
    return lines(title, description, unit, (f"max by (run) (ray_scot_train_{name}{{NS}})", "{{run}}"), **more)


DASHBOARD = Dashboard(
    "scot-pretraining",
    "SCOT / Pretraining",
    "Runs of ray_jobs/pretrain.py with Ray workers.",
    (
        Row(
            "Does it go on?",
            (
                stat(
                    "Runs",
                    "Runs that train now.",
                    "none",
                    "count(max by (run) (ray_scot_train_step{NS}))",
                    nothing="none",
                    runbook="ScotTrainingStalled",
                    width=4,
                    height=8,
                ),
                lines(
                    "Done",
                    "Steps done, of all; a run that no longer learns stops earlier.",
                    "percentunit",
                    ("max by (run) (ray_scot_train_step{NS} / ray_scot_train_steps{NS})", "{{run}}"),
                    maximum=1,
                    runbook="ScotTrainingStalled",
                ),
                lines(
                    "Left",
                    "Time to the last step at the speed of the last ten minutes.",
                    "s",
                    (
                        "max by (run) ((ray_scot_train_steps{NS} - ray_scot_train_step{NS}) / "
                        "(deriv(ray_scot_train_step{NS}[10m]) > 0))",
                        "{{run}}",
                    ),
                    width=6,
                ),
                lines(
                    "Speed",
                    "Triplets a second, all workers together.",
                    "triplets/s",
                    ("max by (run) (ray_scot_train_triplets_per_second{NS})", "{{run}}"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Does it learn?",
            (
                _gauge(
                    "Loss",
                    "Mean since the event before.",
                    "none",
                    "loss",
                    width=6,
                    minimum=None,
                    runbook="ScotTrainingDiverging",
                ),
                _gauge("Held-out recall@1", "At the newest evaluation.", "percentunit", "recall_at_1", width=6),
                _gauge("Held-out recall@10", "At the newest evaluation.", "percentunit", "recall_at_10", width=6),
                _gauge(
                    "Gradient norm",
                    "Before clipping; it grows before a loss goes to nowhere.",
                    "none",
                    "gradient_norm",
                    width=6,
                    runbook="ScotTrainingDiverging",
                ),
            ),
        ),
        Row(
            "What does it wait for?",
            (
                _gauge(
                    "Waiting for data",
                    "Share of the time in which no batch was ready.",
                    "percentunit",
                    "data_wait_ratio",
                    maximum=1,
                    levels=((0, OK), (0.5, BAD)),
                    runbook="ScotTrainingWaitsForData",
                ),
                _gauge("A checkpoint", "Time that the newest one took.", "s", "checkpoint_seconds"),
                node_cpu(),
                lines(
                    "GPU",
                    "How busy each GPU is.",
                    "percent",
                    (
                        "max by (pod, instance, GpuIndex) (ray_node_gpus_utilization{NS})",
                        "{{pod}} {{instance}} {{GpuIndex}}",
                    ),
                    nothing="no GPU",
                ),
                lines(
                    "Memory of the GPUs",
                    "Used.",
                    "decmbytes",
                    (
                        "max by (pod, instance, GpuIndex) (ray_node_gram_used{NS})",
                        "{{pod}} {{instance}} {{GpuIndex}}",
                    ),
                    nothing="no GPU",
                ),
                node_memory(),
            ),
        ),
        Row(
            "Jobs",
            (
                Panel(
                    "RayJobs",
                    "From the KubeRay operator's own metrics; needs its ServiceMonitor.",
                    "none",
                    (Query("max by (namespace, name, deployment_status) (kuberay_job_deployment_status{NS})"),),
                    kind="table",
                    width=12,
                    nothing="no RayJob",
                    runbook="ScotJobFailed",
                ),
                lines(
                    "Time of jobs",
                    "Of each RayJob that has ended, by how it ended.",
                    "s",
                    (
                        "max by (name, job_deployment_status) (kuberay_job_execution_duration_seconds{NS})",
                        "{{name}} {{job_deployment_status}}",
                    ),
                    width=12,
                ),
            ),
        ),
    ),
)
