# The least that an image can be: see answer.c, which tests/container/run compiles.
FROM scratch
COPY answer /
ENTRYPOINT ["/answer"]
