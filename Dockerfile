# One image for all commands: `serve` (the default), `metrics`, `topics create`, ...
# It needs no root and writes nowhere but in /var/lib/phonon and /tmp, so it runs with a read-only root file system.

FROM python:3.11.14-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/phonon
WORKDIR /src
COPY pyproject.toml requirements.lock ./
# The lock serves as constraint, with its hashes: it also holds the tools of development, which are not wanted here.
RUN uv pip install --python /opt/phonon --no-cache --compile-bytecode -r pyproject.toml --constraints requirements.lock
COPY README.md ./
COPY schemas schemas
COPY app app
COPY streams streams
RUN uv pip install --python /opt/phonon --no-cache --compile-bytecode --no-deps --build-constraints requirements.lock .

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin phonon \
 && install -d -o phonon -g phonon /var/lib/phonon /var/lib/phonon/spool /var/lib/phonon/state
COPY --from=build /opt/phonon /opt/phonon
ENV PATH=/opt/phonon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PHONON_SPOOL_DIR=/var/lib/phonon/spool \
    PHONON_STATE_DIR=/var/lib/phonon/state
WORKDIR /var/lib/phonon
USER 10001:10001
EXPOSE 8080 8090 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/healthz', timeout=3)"]
ENTRYPOINT ["phonon-events"]
CMD ["serve"]
