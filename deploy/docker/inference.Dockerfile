# The inference server. No torch, no transformers; with REQUIREMENTS=scoring, what scores files and the stream, too.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/venv
COPY constraints.txt requirements/inference.txt requirements/scoring.txt /build/
ARG REQUIREMENTS=inference
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    /opt/venv/bin/python -m pip install -r "/build/${REQUIREMENTS}.txt" -c /build/constraints.txt
COPY deploy/docker/lean /build/
RUN /build/lean /opt/venv

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 fti \
    && useradd --uid 10001 --gid fti --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fti \
    && install -d -o fti -g fti /var/lib/fti/home /var/lib/fti/offline
COPY --from=packages /opt/venv /opt/venv
COPY deploy/docker/healthy /usr/local/bin/
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FTI_HOME=/var/lib/fti/home \
    FTI_OFFLINE_STORE=/var/lib/fti/offline \
    FTI_TASK=/etc/fti/task.toml
WORKDIR /app
COPY tasks/brand_mentions.toml /etc/fti/task.toml
COPY shared shared
COPY feast_polars_delta feast_polars_delta
COPY inference_pipeline inference_pipeline
# Whoever built it may have had a umask that keeps others out.
RUN python -m compileall -q . && chmod -R a+rX . /etc/fti /usr/local/bin/healthy
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["python", "-m", "inference_pipeline"]
CMD ["serve"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthy", "http://127.0.0.1:8000/healthz"]
