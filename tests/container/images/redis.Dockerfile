# redis as the examples' compose.yaml has it, from Debian's package.
ARG BASE=debian
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends redis-server
USER 65532:65532
ENTRYPOINT ["redis-server", "--save", "", "--appendonly", "no", "--dir", "/tmp"]
