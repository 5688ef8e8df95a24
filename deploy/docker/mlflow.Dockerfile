# The MLflow server: model registry, runs, and the artefacts, which it hands out itself.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/venv
COPY constraints.txt requirements/mlflow.txt /build/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    /opt/venv/bin/python -m pip install -r /build/mlflow.txt -c /build/constraints.txt
COPY deploy/docker/lean /build/
RUN /build/lean /opt/venv

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 fti \
    && useradd --uid 10001 --gid fti --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fti \
    && install -d -o fti -g fti /var/lib/mlflow
COPY --from=packages /opt/venv /opt/venv
COPY deploy/docker/healthy /usr/local/bin/
# Whoever built it may have had a umask that keeps others out.
RUN chmod a+rx /usr/local/bin/healthy
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_ARTIFACTS_DESTINATION=/var/lib/mlflow
USER 10001:10001
EXPOSE 5000
ENTRYPOINT ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthy", "http://127.0.0.1:5000/health"]
