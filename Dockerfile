# One image a component: `make images`. SERVICE is one of the five services, gateway or controlplane; wheels and models
# were laid out by scripts/images.sh, each checked by its hash, so that nothing is downloaded here but Debian's Mesa.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG SERVICE
WORKDIR /src
COPY out/images/${SERVICE}/ /layout/
COPY requirements/ requirements/
COPY lensora/ lensora/
COPY services/ services/
COPY gateway/ gateway/
COPY controlplane/ controlplane/
COPY cli/ cli/
# What no service loads is left out: tests, sources, PyAV's symbols (other wheels' libraries do not outlive strip), the C API
# beside the Python module that has all of it, tools for training. The gateway's image is also the operators': it has the command `lensora`
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --without-pip /opt/venv \
    && PYTHONPATH="$(echo /layout/pip/pip-*.whl)" /opt/venv/bin/python -m pip install --quiet --no-cache-dir --no-index \
        --find-links /layout/wheels --require-hashes --requirement "requirements/${SERVICE}.txt" \
    && mkdir -p /app/services \
    && case "${SERVICE}" in \
        gateway) module=gateway; cp -r cli gateway controlplane /app/ ;; \
        controlplane) module=controlplane; cp -r controlplane /app/ ;; \
        *) module="services.${SERVICE}"; cp -r services/__init__.py "services/${SERVICE}" /app/services/ ;; \
    esac \
    && cp -r lensora /app/ \
    && printf '#!/opt/venv/bin/python\nimport runpy\n\nif __name__ == "__main__":\n    runpy.run_module("%s", run_name="__main__")\n' \
        "${module}" > /opt/venv/bin/serve \
    && printf '#!/opt/venv/bin/python\nfrom cli.main import main\n\nmain()\n' > /opt/venv/bin/lensora \
    && chmod 755 /opt/venv/bin/serve /opt/venv/bin/lensora \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && find /opt/venv -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' \) -delete \
    && find /opt/venv/lib/python3.11/site-packages -path '*/av/*' -name '*.so' -exec strip --strip-unneeded {} + \
    && rm -rf /opt/venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so* \
        /opt/venv/lib/python3.11/site-packages/onnxruntime/transformers \
        /opt/venv/lib/python3.11/site-packages/onnxruntime/tools \
        /opt/venv/lib/python3.11/site-packages/onnxruntime/quantization \
        /opt/venv/lib/python3.11/site-packages/onnxruntime/datasets \
        /opt/venv/lib/python3.11/site-packages/ai_edge_litert/libLiteRtWebGpuAccelerator.so \
        /opt/venv/lib/python3.11/site-packages/ai_edge_litert/tools \
    && python3 -m compileall -q /app /opt/venv

FROM ${BASE}
ARG SERVICE
# Mesa draws where there is no GPU; where there is one, the vendor file makes EGL find NVIDIA's library
# hadolint ignore=DL3008
RUN if [ "${SERVICE}" = render ]; then \
        apt-get update -qq \
        && apt-get install -y -qq --no-install-recommends libegl1 libgl1 \
        && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
        && printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nvidia.so.0"}}\n' \
            > /usr/share/glvnd/egl_vendor.d/10_nvidia.json; \
    fi \
    # a new volume that is mounted there belongs to who writes to it
    && mkdir -p /var/lib/lensora /etc/lensora/tls \
    && chown 10001:10001 /var/lib/lensora /etc/lensora/tls
COPY --from=build /opt/venv /opt/venv
COPY --from=build /layout/models /opt/models
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    LENSORA_MODELS=/opt/models \
    OPENBLAS_NUM_THREADS=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility
WORKDIR /app
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["python", "-m", "lensora.runtime.probe"]
ENTRYPOINT ["serve"]
