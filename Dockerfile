# server/Dockerfile is the same file: `openenv build` looks there, Spaces look here.
FROM python:3.11-slim AS build

ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never

RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
COPY pyproject.toml uv.lock ./
# The dependencies alone, so that an edit of the sources does not rebuild this layer.
# What serves nobody goes, 0.2 GB: others' tests, Gradio's sample media and its video editor, Arrow's
# C++ headers and its clients of Flight and S3, which Arrow loads only where they are asked for.
RUN uv sync --frozen --no-dev --no-install-project --no-cache && \
    find .venv/lib \( -type d -name tests -o -path '*/gradio/media_assets' \
    -o -path '*/frontend/static/ffmpeg' -o -path '*/pyarrow/include' \
    -o -path '*/pyarrow/*flight*' -o -path '*/pyarrow/*s3*' \) -prune -exec rm -r {} +


FROM python:3.11-slim

RUN useradd -m -u 1000 user && install -d -o user -g user /app /app/.cache
# The kernel is compiled for any CPU: the machine that builds is not the one that serves.
ENV HOME=/home/user \
    PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_DIR=/app/.cache \
    ENABLE_WEB_INTERFACE=true \
    GRADIO_ANALYTICS_ENABLED=False \
    PORT=7860

WORKDIR /app
COPY --from=build --chown=user:user /app/.venv .venv
USER 1000
# What the kernel is made of comes first: an edit of the server does not compile it again.
COPY --chown=user:user llmserve_env llmserve_env
COPY --chown=user:user simulator simulator
RUN python -m simulator.warm_up
# Each by its name: `openenv push` leaves .dockerignore behind.
COPY --chown=user:user grader grader
COPY --chown=user:user agents agents
COPY --chown=user:user weights weights
COPY --chown=user:user server server
COPY --chown=user:user LICENSES LICENSES
COPY --chown=user:user LICENSE NOTICE README.md pyproject.toml uv.lock openenv.yaml inference.py ./
# Bytecode: on a read-only root it could not be kept.
RUN python -m compileall -q -j 0 --invalidation-mode checked-hash \
    llmserve_env simulator grader agents server inference.py

EXPOSE 7860
# The start takes longer where the compiled kernel cannot be used and is compiled again.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=4)"]

CMD ["python", "-m", "server.app"]
