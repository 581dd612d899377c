# MinIO and its client, from their Go modules: their makers no longer publish images, and the last one there is has a known
# hole (CVE-2025-62506). This is the version that `make test-long` runs the S3 contract suite against.

FROM golang:1.26.8-bookworm AS build
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -ldflags=-s"
RUN go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c && \
    go install github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9

FROM python:3.11.15-slim-bookworm
RUN groupadd --gid 10002 minio && \
    useradd --uid 10002 --gid minio --no-create-home --home-dir /tmp minio && \
    install --directory --owner minio --group minio /data
COPY --from=build /go/bin/minio /go/bin/mc /usr/local/bin/
COPY docker/healthy.py docker/minio/set-up.sh /opt/etar/docker/
COPY stack/s3_policies /opt/etar/stack/s3_policies
USER 10002
CMD ["minio", "server", "/data", "--address", ":9000"]
