# syntax=docker/dockerfile:1
# The image of the two steps that run on AWS Batch: Python 3.11, CUDA, the locked libraries. Our own code is
# not in it: Metaflow's code package brings it, so a change of code needs no new image.
#
#   docker build -f infra/docker/training.Dockerfile --build-arg CUDA_BASE=<image>@sha256:<digest> .
#
# CUDA_BASE is nvidia/cuda:<version>-base-rockylinux9: `base`, since torch's wheels bring CUDA's libraries, and
# Rocky Linux 9, since it maintains Python 3.11 (Ubuntu 22.04 has a release candidate, 24.04 only 3.12). It has
# no default on purpose: a tag moves, and the digest in use is a decision (docs/how_to/deploy_on_aws.md).
#checkov:skip=CKV_DOCKER_7:The argument is an image by digest; the workflow checks its form.
#checkov:skip=CKV_DOCKER_2:A Batch job ends by itself; nobody asks it for its health.
ARG CUDA_BASE

FROM ${CUDA_BASE} AS python
# hadolint ignore=DL3041
RUN dnf install --assumeyes --setopt=install_weak_deps=False python3.11 shadow-utils \
    && dnf clean all

FROM python AS libraries
RUN python3.11 -m venv /opt/venv
COPY 3rdparty/python/cuda.lock /tmp/cuda.lock
# --require-hashes: what is installed is what was locked, or nothing.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/cuda.lock \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python AS training
# No AWS CLI: nothing calls it (Metaflow uses boto3). Metaflow runs `python` and unpacks the code beside itself.
COPY --from=libraries /opt/venv /opt/venv
COPY infra/docker/entrypoint.sh /usr/local/bin/entrypoint.sh
RUN groupadd --gid 10001 trainer \
    && useradd --uid 10001 --gid trainer --create-home trainer \
    && install --directory --owner trainer --group trainer /app

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false \
    METAFLOW_SKIP_INSTALL_DEPENDENCIES=1

# Metaflow unpacks the code package into the working directory, so its user must own it.
WORKDIR /app
USER 10001:10001

# Stops the build when a library does not import, or torch came without CUDA.
RUN python -c "import bitsandbytes, boto3, metaflow, peft, torch, transformers; assert torch.version.cuda, 'torch has no CUDA build'"

ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["python", "--version"]
