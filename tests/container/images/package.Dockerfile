# The Debian package (make deb), on a Debian that has no Python: its dependencies bring what it needs.
ARG BASE=debian
FROM ${BASE}
COPY pyentry_*.deb /
RUN apt-get update && apt-get install -y --no-install-recommends /pyentry_*.deb
USER 65532:65532
ENTRYPOINT ["pyentry"]
