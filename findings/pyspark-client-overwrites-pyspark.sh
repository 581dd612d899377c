#!/usr/bin/env bash
# Version: pyspark 4.1.2, pyspark-client 4.2.0, apache-airflow-providers-apache-spark 6.3.4, installed by uv 0.13.8.
#
# Behaviour: pyspark-client, which Airflow's Spark provider asks for, owns files that pyspark owns too. The installer
# neither refuses nor resolves it: of two versions, the package that is written last gives the Python side, and pyspark
# alone gives the jars.
#
# Output seen:
#   the provider asks for: pyspark-client>=4.0.0
#   files in both, different: 358 286
#   pyspark written last: 4.1.2
#   pyspark-client written last: 4.2.0
#   jars beside it: spark-core_2.13-4.1.2.jar
#   of one version, different of 359: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "uv==0.13.8"
install() { venv/bin/uv pip install --quiet --python venv/bin/python --no-deps --reinstall "$@"; }
version() { venv/bin/python -c 'import runpy, sysconfig; print(runpy.run_path(sysconfig.get_path("purelib") + "/pyspark/version.py")["__version__"])'; }
shared() { # how many files both packages list, and how many of them with another hash
  venv/bin/python - <<'PYTHON'
from importlib.metadata import files
client = {str(file): file.hash.value for file in files("pyspark-client") if file.hash}
pyspark = {str(file): file.hash.value for file in files("pyspark") if file.hash}
both = client.keys() & pyspark.keys()
print(len(both), sum(client[name] != pyspark[name] for name in both))
PYTHON
}
expect() { # what, expected, seen
  echo "$1: $3"
  [ "$2" = "$3" ] || { echo "expected: $2" >&2; exit 1; }
}

venv/bin/pip install --quiet --disable-pip-version-check --no-deps "apache-airflow-providers-apache-spark==6.3.4"
expect "the provider asks for" "pyspark-client>=4.0.0" \
  "$(venv/bin/python -c 'from importlib.metadata import requires; print(*(r for r in requires("apache-airflow-providers-apache-spark") if r.startswith("pyspark-client")))')"
install "pyspark-client==4.2.0"
install "pyspark==4.1.2"
expect "files in both, different" "358 286" "$(shared)"
expect "pyspark written last" "4.1.2" "$(version)"
install "pyspark-client==4.2.0"
expect "pyspark-client written last" "4.2.0" "$(version)"
expect "jars beside it" "spark-core_2.13-4.1.2.jar" "$(basename "$(ls venv/lib/python3.11/site-packages/pyspark/jars/spark-core_*)")"
install "pyspark-client==4.1.2"
install "pyspark==4.1.2"
shared | { read -r both different; expect "of one version, different of $both" "0" "$different"; }
