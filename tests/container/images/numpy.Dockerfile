# numpy with the BLAS that starts a thread for each CPU.
ARG BASE=pyentry-debian
FROM ${BASE}
USER root
RUN apt-get update && apt-get install -y --no-install-recommends libopenblas0-pthread python3-numpy
USER 65532:65532
