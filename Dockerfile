# The image of a remote worker (Flink with DOCKER environments or pool sidecars, Dataflow): Beam's SDK image with this package.
#
#     docker build --tag REGISTRY/dalle-pipelines:VERSION .
#     docker push REGISTRY/dalle-pipelines:VERSION
#
# Driver and workers must have the same Python (3.11), Beam and library versions: the same constraints.txt sees to that,
# and the fingerprint of every unit, which holds the versions that make its bytes, would otherwise redo what is done.
FROM apache/beam_python3.11_sdk:2.77.0

WORKDIR /opt/dalle-pipelines
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY dalle dalle
COPY pipelines pipelines
RUN pip install --no-cache-dir --constraint constraints.txt . \
    && python -c "import pipelines.work.collect, pipelines.copies.cleaning, pipelines.work.encoding"

# As on this machine: two malloc heaps a worker (pipelines/local/fork_server.py), and one thread for each computation.
# Where bytes come out of torch a unit asks for that itself (pipelines/running/one_thread.py); the variable keeps all other
# libraries from starting as many threads as the machine has cores in each worker.
ENV MALLOC_ARENA_MAX=2 OMP_NUM_THREADS=1

# The entry point stays Beam's: /opt/apache/beam/boot, also with --worker_pool for a sidecar beside a task manager.
