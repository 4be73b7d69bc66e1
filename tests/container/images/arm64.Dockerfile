# pyentry for aarch64: cross-built with Debian's compiler against arm64's own libpython, its unit tests run under
# qemu-user. Nothing of it touches the packages of the machine.
ARG BASE=debian
FROM ${BASE}
RUN dpkg --add-architecture arm64 && apt-get update && apt-get install -y --no-install-recommends \
        autoconf automake gcc-aarch64-linux-gnu make pkgconf python3 qemu-user \
        libc6-dev:arm64 libcmocka-dev:arm64 libpython3-dev:arm64
WORKDIR /src
COPY . .
RUN autoreconf -i && \
    PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
        ./configure -q --host=aarch64-linux-gnu PYTHON=/usr/bin/python3 --enable-werror && \
    make -s -j"$(nproc)" install-exec && \
    make -s check-unit LOG_COMPILER=qemu-aarch64 && \
    grep -c '^:test-result: PASS' tests/unit/*.trs
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["qemu-aarch64", "/usr/local/bin/pyentry"]
