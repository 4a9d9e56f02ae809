"""The local runner, made as Beam's own runners/direct/direct_runner.py makes it in the end, with our own workers.

Beam's DirectRunner would first download another runner, and its plain FnApiRunner forgets the options.
"""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions


def has_workers(flags: list[str], processes: int) -> bool:
    """Whether the runner of these flags has worker processes of ours."""
    named = any(flag.startswith(("--direct_running_mode", "--direct_num_workers")) for flag in flags)
    return processes > 1 and not named


def runner(options: PipelineOptions, flags: list[str], processes: int) -> Any:
    """A runner with so many worker processes; with one it works in this process.

    Args:
        options: of the pipeline; the number of workers is written into them.
        flags: Beam's, as the user gave them; who names workers there gets those instead.
        processes: how many.
    """
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    from pipelines.local.handler import LocalWorkers

    environment = None
    if has_workers(flags, processes):
        options.view_as(DirectOptions).direct_num_workers = processes
        environment = LocalWorkers()
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(environment, provision_info=fn_runner.ExtendedProvisionInfo(info))
