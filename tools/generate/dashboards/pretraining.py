"""Pretraining: progress, learning, waiting times."""

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
            "Progress",
            (
                stat(
                    "Runs",
                    "Active runs.",
                    "none",
                    "count(max by (run) (ray_scot_train_step{NS}))",
                    nothing="none",
                    runbook="ScotTrainingStalled",
                    width=4,
                    height=8,
                ),
                lines(
                    "Done",
                    "Completed share of the steps. A run that no longer improves stops earlier.",
                    "percentunit",
                    ("max by (run) (ray_scot_train_step{NS} / ray_scot_train_steps{NS})", "{{run}}"),
                    maximum=1,
                    runbook="ScotTrainingStalled",
                ),
                lines(
                    "Remaining time",
                    "Until the last step, at the speed of the last ten minutes.",
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
                    "Triplets a second of all workers.",
                    "triplets/s",
                    ("max by (run) (ray_scot_train_triplets_per_second{NS})", "{{run}}"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Learning",
            (
                _gauge(
                    "Loss",
                    "Mean since the previous report.",
                    "none",
                    "loss",
                    width=6,
                    minimum=None,
                    runbook="ScotTrainingDiverging",
                ),
                _gauge("Held-out recall@1", "At the latest evaluation.", "percentunit", "recall_at_1", width=6),
                _gauge("Held-out recall@10", "At the latest evaluation.", "percentunit", "recall_at_10", width=6),
                _gauge(
                    "Gradient norm",
                    "Before clipping. It grows before the loss diverges.",
                    "none",
                    "gradient_norm",
                    width=6,
                    runbook="ScotTrainingDiverging",
                ),
            ),
        ),
        Row(
            "Waiting times",
            (
                _gauge(
                    "Waiting for data",
                    "Share of the time without a ready batch.",
                    "percentunit",
                    "data_wait_ratio",
                    maximum=1,
                    levels=((0, OK), (0.5, BAD)),
                    runbook="ScotTrainingWaitsForData",
                ),
                _gauge("Checkpoint", "Time of the latest checkpoint.", "s", "checkpoint_seconds"),
                node_cpu(),
                lines(
                    "GPU",
                    "Utilization of each GPU.",
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
                    "From the metrics of the KubeRay operator; needs its ServiceMonitor.",
                    "none",
                    (Query("max by (namespace, name, deployment_status) (kuberay_job_deployment_status{NS})"),),
                    kind="table",
                    width=8,
                    nothing="no RayJob",
                    runbook="ScotJobFailed",
                ),
                Panel(
                    "Scheduled pipelines",
                    "Runs of the CronJob that ended, and how; from kube-state-metrics.",
                    "none",
                    (
                        Query(
                            " or ".join(
                                "label_replace(max by (namespace, job_name)"
                                f' (kube_job_{outcome}{{NS, condition="true", job_name=~".+-pipeline-[0-9]+"}} == 1),'
                                f' "outcome", "{outcome}", "", "")'
                                for outcome in ("complete", "failed")
                            )
                        ),
                    ),
                    kind="table",
                    width=8,
                    nothing="no pipeline",
                    runbook="ScotPipelineFailed",
                ),
                lines(
                    "Time of jobs",
                    "Of each ended RayJob, by its outcome.",
                    "s",
                    (
                        "max by (name, job_deployment_status) (kuberay_job_execution_duration_seconds{NS})",
                        "{{name}} {{job_deployment_status}}",
                    ),
                    width=8,
                ),
            ),
        ),
    ),
)
