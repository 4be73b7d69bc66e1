# What python:3.X-slim is, made of Debian's packages alone: CPython as its authors release it (the source package's
# tarball), configured as the official image configures it, with a shared libpython in /usr/local. Without the
# optimizations that take ten minutes; nothing here measures time. And with the modules that the examples require,
# so that their `pip install -r requirements.txt` finds them there and asks no index.
ARG BASE=debian
FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates dpkg-dev gcc libc6-dev make pkgconf xz-utils \
        libbz2-dev libffi-dev liblzma-dev libreadline-dev libsqlite3-dev libssl-dev uuid-dev zlib1g-dev
ARG VERSION
WORKDIR /source
RUN sed -n 's/^deb /deb-src /p' /etc/apt/sources.list.d/*.list >/etc/apt/sources.list.d/source.list && apt-get update && \
    apt-get source --download-only --tar-only "python$VERSION" && tar xf *.orig.tar.* --strip-components=1
RUN ./configure -q --prefix=/usr/local --enable-shared --enable-loadable-sqlite-extensions --with-ensurepip --disable-test-modules \
        --without-static-libpython CFLAGS=-O1 && \
    make -s -j"$(nproc)" && make -s install DESTDIR=/built && \
    cd /built/usr/local && rm -rf lib/python*/idlelib && \
    find . -name __pycache__ -exec rm -rf {} + && \
    for name in python pip pydoc; do ln -s "${name}3" "bin/$name"; done

FROM ${BASE} AS modules
RUN apt-get update && apt-get install -y --no-install-recommends \
        gunicorn python3-celery python3-django python3-fastapi python3-flask python3-redis python3-uvicorn
ARG VERSION
# Debian's fastapi works with a later starlette than its own metadata admit.
RUN mkdir -p "/built/usr/local/lib/python$VERSION" && \
    sed -i 's/^Requires-Dist: starlette.*/Requires-Dist: starlette/' /usr/lib/python3/dist-packages/fastapi-*/METADATA && \
    cp -a /usr/lib/python3/dist-packages "/built/usr/local/lib/python$VERSION/site-packages"

FROM ${BASE}
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libbz2-1.0 libffi8 liblzma5 libreadline8 \
        libsqlite3-0 libssl3 libuuid1 zlib1g && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /built /
COPY --from=modules /built /
RUN ldconfig && python3 --version && pip --version
CMD ["python3"]
