# What pyentry takes the place of: Debian's python with tini, for the table of docs/images.md.
ARG BASE=debian
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 tini && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY hello hello
USER 65532:65532
ENTRYPOINT ["tini", "--", "python3", "-u", "-m", "hello"]
