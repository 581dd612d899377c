# Kafka Connect (with Confluent's Avro converter, which this image brings) and the official ClickHouse sink.

FROM python:3.11.15-slim-bookworm AS connector
# Where it was built no archive could be fetched: the checksum is the one that two public Nix packages pin, and a build
# that gets another archive stops here. docs/decisions/0011-containers.md
ADD --checksum=sha256:53e31ccd96734b8fb1f251279da17863b9b193f0764a61280461aa314050ecc6 \
    https://github.com/ClickHouse/clickhouse-kafka-connect/releases/download/v1.5.0/clickhouse-kafka-connect-v1.5.0.zip \
    /build/connector.zip
RUN python -m zipfile --extract /build/connector.zip /build/plugins

FROM confluentinc/cp-kafka-connect:8.3.1
COPY --from=connector /build/plugins /usr/share/etar-plugins
COPY docker/connect/worker.properties docker/connect/log4j2.yaml /etc/etar/
CMD ["connect-distributed", "/etc/etar/worker.properties"]
