ARG BASE_IMAGE=python:3.12-slim-bookworm

# Stage 1: everything that needs a compiler of kernels, pip or the sources.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY locks/build.txt locks/service.txt locks/
# A lock is complete, so nothing is resolved: pip would look at releases that are newer than the lock.
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-deps --require-hashes -r locks/build.txt \
 && python -m venv /opt/dropout && /opt/dropout/bin/pip install --no-deps --require-hashes -r locks/service.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN /opt/build/bin/python -m hatchling build -t wheel -d /tmp/dist \
 && /opt/dropout/bin/pip install --no-deps /tmp/dist/*.whl \
 && /opt/dropout/bin/pip check \
 && /opt/dropout/bin/pip uninstall --yes pip \
 && find /opt/dropout/lib -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
# The kernels are compiled here, so that a container answers its first request at once.
RUN DROPOUT_SERVICE_KERNEL_CACHE_DIR=/opt/dropout/kernels /opt/dropout/bin/python -m dropout_service.kernels

# Stage 2: what runs.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="dropout-service" \
      org.opencontainers.image.description="Dropout over HTTP and durable training jobs" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 dropout && useradd --uid 10001 --gid dropout --no-create-home --home-dir /data dropout \
 && install -d -o dropout -g dropout -m 0750 /data
COPY --from=build /opt/dropout /opt/dropout
ENV PATH=/opt/dropout/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DROPOUT_SERVICE_HOST=0.0.0.0 \
    DROPOUT_SERVICE_PORT=8000 \
    DROPOUT_SERVICE_DATA_DIR=/data \
    DROPOUT_SERVICE_KERNEL_CACHE_DIR=/opt/dropout/kernels:/data/kernels
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["dropout-service", "health"]
ENTRYPOINT ["dropout-service"]
CMD ["serve"]
