"""What can be known of a runner before anything is written: that there is one, and that it has what it needs.

Beam itself finds out in the middle of a run: it downloads a job server from Maven, starts Java, waits for a port on
which nobody listens, each in its own time and words.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    KafkaStreamsRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import PipelineRunner, create_runner

from schemas.commands.flag_mistakes import nearest

_NOT_FOR_JOBS = frozenset(("InteractiveRunner",))
"""They show a pipeline that is being made in a notebook."""
_MISSING = re.compile(r"Missing [\w ]*option: (\w+)\.?")
"""As Beam says that a flag is not given."""
LOCAL = frozenset(("direct", "switchingdirect", "bundlebaseddirect", "fnapi", "testdirect"))
"""Runners of this machine, in lower case and without their last word."""
_PATIENCE = 10.0
"""Seconds for a machine to answer."""


def check_runner(flags: list[str]) -> None:
    """Check that Beam's flags name a runner that could begin; it fetches what Beam would fetch of it.

    Raises:
        ValueError: if there is no such runner, or it lacks something that the flags or this machine should have, as a
            job server that is not here and cannot be fetched.
        ImportError: if a package that it needs is not installed.
    """
    options = PipelineOptions(flags)
    name = options.view_as(StandardOptions).runner
    _check_has_its_runner(name or "DirectRunner", options)
    if name is None:
        return
    runner = _runner_of(name)
    with contextlib.suppress(AttributeError):  # of a runner that keeps no options of its own
        if errors := PipelineOptionsValidator(options, runner).validate():
            missing = [_MISSING.fullmatch(error) for error in errors]
            needed = ", ".join(f"--{match[1]}" for match in missing if match)
            raise ValueError(f"--runner {name}: {f'needs {needed}, too' if all(missing) else ' '.join(errors)}")
    if runner is not None and (check := _CHECKS.get(type(runner).__name__)):
        if endpoint := options.view_as(PortableOptions).job_endpoint:
            _check_job_endpoint(endpoint)
        else:
            check(name, options, runner)


def _check_has_its_runner(name: str, options: PipelineOptions) -> None:
    """A master that is given to a runner of this machine would be passed over, and the work be done here."""
    flink, spark = options.view_as(FlinkRunnerOptions), options.view_as(SparkRunnerOptions)
    for flag, value, runner in (
        ("--flink_master", flink.flink_master, "FlinkRunner"),
        ("--spark_master_url", spark.spark_master_url, "SparkRunner"),
    ):
        if value not in ("[auto]", "local[4]") and name.lower().removesuffix("runner") in LOCAL:
            raise ValueError(
                f"{flag} {value}: {name} works on this machine and knows no master; give --runner {runner}"
            )


def _runner_of(name: str) -> PipelineRunner | None:
    names = sorted(set(StandardOptions.KNOWN_RUNNER_NAMES) - _NOT_FOR_JOBS)
    known = {full.lower().removesuffix("runner"): full for full in names}
    short = name.lower().removesuffix("runner")
    if short in known:
        return create_runner(known[short])
    if "." not in name:
        near = nearest(short, (full.removesuffix("Runner") for full in names))
        raise ValueError(f"--runner {name}: expected one of {', '.join(names)}, or a class's full name{near}")
    try:
        runner = create_runner(name)
    except (AttributeError, TypeError):
        runner = None
    if not isinstance(runner, PipelineRunner):
        raise ValueError(f"--runner {name}: is no runner of Beam's; expected a class's full name")
    return runner


def _check_flink(name: str, options: PipelineOptions, _runner: Any) -> None:
    from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkJarJobServer, FlinkRunner

    flink = options.view_as(FlinkRunnerOptions)
    master = flink.flink_master.strip()
    if master not in MAGIC_HOST_NAMES:
        _check_flink_answers(master, FlinkRunner.add_http_scheme(master))
    if master in MAGIC_HOST_NAMES or not flink.flink_submit_uber_jar:
        _check_java(name, options)
    _fetch_job_server(name, options, FlinkJarJobServer(options), "--flink_job_server_jar")


def _check_flink_answers(master: str, url: str) -> None:
    """Ask its REST interface what it is; one that wants a password or has a certificate of its own counts as there."""
    advice = "expected HOST:PORT of a Flink that runs, or [local] for one that is started here"
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with without_proxy.open(f"{url.rstrip('/')}/config", timeout=_PATIENCE) as answer:
            is_flink = "flink-version" in json.loads(answer.read(1 << 16))
    except urllib.error.HTTPError as error:
        is_flink = error.code in (401, 403)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        is_flink = isinstance(reason, ssl.SSLCertVerificationError)
        if not is_flink and not isinstance(error, json.JSONDecodeError):
            raise ValueError(f"--flink_master {master}: it cannot be reached ({_words(reason)}); {advice}") from None
    if not is_flink:
        raise ValueError(f"--flink_master {master}: what answers there is no Flink; {advice}")


def _check_spark(name: str, options: PipelineOptions, _runner: Any) -> None:
    from apache_beam.runners.portability.spark_runner import SparkJarJobServer

    spark = options.view_as(SparkRunnerOptions)
    if spark.spark_submit_uber_jar and not spark.spark_rest_url:
        raise ValueError("--spark_submit_uber_jar: --spark_rest_url is missing; say where Spark's REST interface is")
    if not spark.spark_submit_uber_jar:
        if spark.spark_master_url.startswith("spark://"):
            where = spark.spark_master_url.removeprefix("spark://").partition(",")[0]
            _check_listens(f"--spark_master_url {spark.spark_master_url}", where)
        _check_java(name, options)
    _fetch_job_server(name, options, SparkJarJobServer(options), "--spark_job_server_jar")


def _check_prism(name: str, options: PipelineOptions, _runner: Any) -> None:
    from apache_beam.runners.portability.prism_runner import PrismJobServer

    try:
        with _patience():
            PrismJobServer.local_bin(PrismJobServer(options).path_to_binary())
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(
            f"--runner {name}: Prism is not on this machine and cannot be had ({_words(error)}); give it with "
            "--prism_location FILE, or leave --runner out: this machine's processes need none"
        ) from None


def _check_kafka_streams(name: str, options: PipelineOptions, _runner: Any) -> None:
    from apache_beam.runners.portability.kafka_streams_runner import KafkaStreamsJarJobServer

    if not options.view_as(KafkaStreamsRunnerOptions).kafka_streams_job_server_jar:
        raise ValueError(
            f"--runner {name}: Beam publishes no job server of it; give one that you have built with "
            "--kafka_streams_job_server_jar FILE"
        )
    _check_java(name, options)
    _fetch_job_server(name, options, KafkaStreamsJarJobServer(options), "--kafka_streams_job_server_jar")


def _check_portable(name: str, _options: PipelineOptions, _runner: Any) -> None:
    raise ValueError(f"--runner {name}: --job_endpoint is missing; expected HOST:PORT of a job server that runs")


_CHECKS = {
    "FlinkRunner": _check_flink,
    "SparkRunner": _check_spark,
    "KafkaStreamsRunner": _check_kafka_streams,
    "PrismRunner": _check_prism,
    "PortableRunner": _check_portable,
}


def _check_java(name: str, options: PipelineOptions) -> None:
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise ValueError(
            f"--runner {name}: its job server needs Java, and there is no program '{java}'; install a Java runtime, or "
            "name one with --job_server_java_launcher"
        )


def _fetch_job_server(name: str, options: PipelineOptions, server: Any, flag: str) -> None:
    """Have the jar where Beam will look for it."""
    jar = "its jar"
    try:
        jar = server.path_to_jar()
        with _patience():
            server.local_jar(jar, options.view_as(JobServerOptions).jar_cache_dir)
    except ValueError:  # a path of the user's that is none
        given = getattr(server, "_jar", "")
        raise ValueError(f"{flag} {given}: there is no such file; expected Beam's job server, a jar") from None
    except (RuntimeError, OSError):
        raise ValueError(
            f"--runner {name}: Beam's job server is not on this machine and cannot be fetched from {jar}; fetch it "
            f"where there is a network and give it with {flag} FILE"
        ) from None


def _check_job_endpoint(endpoint: str) -> None:
    """That what listens speaks gRPC: Beam would wait for it for ever."""
    import grpc

    if endpoint == "embed":
        return
    _check_listens(f"--job_endpoint {endpoint}", endpoint)
    channel = grpc.insecure_channel(endpoint)
    try:
        grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
    except grpc.FutureTimeoutError:
        raise ValueError(f"--job_endpoint {endpoint}: what listens there is no job server of Beam's") from None
    finally:
        channel.close()


def _check_listens(flag: str, where: str) -> None:
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{flag}: it cannot be reached ({_words(error)}); expected HOST:PORT of one that runs"
        ) from None


def _words(error: Any) -> str:
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else str(error)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Downloads that get nothing for a while fail; by themselves they would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
