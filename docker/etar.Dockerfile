# Our own images: `services` (producer, report API, dashboard, one-shot jobs) and `spark` on top of it (Airflow, which is
# Spark's client, and the Spark nodes). Both hold one environment, from the lock that the native stack is made from.

# The jars with which Spark speaks to S3, from the same pom.xml as natively.
FROM maven:3.9.11-eclipse-temurin-17 AS jars
COPY stack/pom.xml /build/pom.xml
RUN mvn --batch-mode --file /build/pom.xml --activate-profiles spark \
      dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=/build/jars

FROM python:3.11.15-slim-bookworm AS environment
ENV UV_LINK_MODE=copy
# The version that stack/setup.sh uses.
RUN pip install --no-cache-dir uv==0.13.8 && python -m venv /opt/venv
COPY requirements.txt docker/left-out.txt /build/
# Compiled here: the containers' file systems are read-only.
RUN uv pip install --no-cache --python /opt/venv/bin/python --compile-bytecode --require-hashes \
      --excludes /build/left-out.txt -r /build/requirements.txt
# Installed by reference: the modules find sql/, dags/ and connect/ beside them, as they do natively.
COPY pyproject.toml /opt/etar/
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-build-isolation --no-deps --editable /opt/etar

FROM python:3.11.15-slim-bookworm AS services
RUN groupadd --gid 10001 etar && \
    useradd --uid 10001 --gid etar --no-create-home --home-dir /tmp etar && \
    install --directory --owner etar --group etar /var/lib/etar/accounts /var/lib/etar/task-logs /var/lib/etar/spark
COPY --from=environment /opt/venv /opt/venv
COPY . /opt/etar
RUN /opt/venv/bin/python -m compileall -q /opt/etar
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    TZ=UTC
WORKDIR /opt/etar
USER 10001
CMD ["etar", "--help"]

FROM services AS spark
USER 0
# A Debian release keeps one version of each package, the newest: a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps && \
    rm -rf /var/lib/apt/lists/* && \
    install --directory --owner etar --group etar /opt/airflow /run/etar
COPY --from=jars /build/jars /opt/spark-jars
ENV SPARK_HOME=/opt/venv/lib/python3.11/site-packages/pyspark \
    PYSPARK_PYTHON=/opt/venv/bin/python \
    AIRFLOW_HOME=/opt/airflow
USER 10001
# Spark takes one properties file: what is the same everywhere, and this installation's secret.
ENTRYPOINT ["/opt/etar/docker/spark/with-properties.sh"]
