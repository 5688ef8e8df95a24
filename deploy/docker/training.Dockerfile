# The training API, its workers and their timetable.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/venv
COPY constraints.txt requirements/training.txt requirements/sample.txt /build/
# torch alone first: it is most of the image. The default index holds builds for CPUs only, and only it is asked: with two, pip
# would take PyPI's, with CUDA, where the other does not answer. Empty, it means PyPI.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    /opt/venv/bin/python -m pip install torch -c /build/constraints.txt ${TORCH_INDEX:+--no-deps --index-url "$TORCH_INDEX"}
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    /opt/venv/bin/python -m pip install -r /build/training.txt -c /build/constraints.txt \
    && /opt/venv/bin/python -m pip install --no-deps -r /build/sample.txt
COPY deploy/docker/lean /build/
RUN /build/lean /opt/venv

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 fti \
    && useradd --uid 10001 --gid fti --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fti \
    && install -d -o fti -g fti /var/lib/fti/home /var/lib/fti/offline
COPY --from=packages /opt/venv /opt/venv
COPY deploy/docker/healthy deploy/docker/alive /usr/local/bin/
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
COPY training_pipeline training_pipeline
# Whoever built it may have had a umask that keeps others out.
RUN python -m compileall -q . && chmod -R a+rX . /etc/fti /usr/local/bin/healthy /usr/local/bin/alive
ARG SOURCE_COMMIT=""
ENV FTI_TRAINING_COMMIT=${SOURCE_COMMIT}
USER 10001:10001
EXPOSE 8002
ENTRYPOINT ["python", "-m", "training_pipeline"]
CMD ["serve"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthy", "http://127.0.0.1:8002/healthz"]
