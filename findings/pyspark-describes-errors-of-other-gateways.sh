#!/usr/bin/env bash
# Version: PySpark 4.1.2, Py4J 0.10.9.9, Java 17, Python 3.11.
#
# Behaviour: a program may talk to a Java of its own over Py4J beside Spark's. From its first SparkSession on, also after
# that was stopped, an error of the other Java is handed to Spark's: PySpark replaces py4j.java_gateway.get_return_value
# for the whole process, and asks Spark's Java to describe the error by its number, which there may be of any object.
# Where it is, what the caller gets is no Py4JJavaError of its call, but a Py4JError of a method of Spark's that it never
# called; where it is of none, all is well. Which of the two it is changes from call to call.
#
# Output seen:
#   before Spark: the error is of the call
#   with Spark: some are of org.apache.spark.util.Utils.exceptionString
#   with py4j's own function put back: 60 of 60 errors are of the call
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "pyspark==4.1.2" "py4j==0.10.9.9"
venv/bin/python - <<'PYTHON' 2>errors > seen || { cat errors >&2; exit 1; }
from pathlib import Path

import py4j.java_gateway
import py4j.protocol
import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from pyspark.sql import SparkSession

(jar,) = (Path(pyspark.__file__).parent / "jars").glob("py4j-*.jar")
gateway = JavaGateway(gateway_parameters=GatewayParameters(port=launch_gateway(jarpath=str(jar), die_on_exit=True)))
kept = []


def errors(count: int) -> list[str]:
    for _ in range(count):
        try:
            gateway.jvm.java.lang.Integer.parseInt("no number")
        except py4j.protocol.Py4JError as error:
            kept.append(error)  # an error keeps its number while it is referred to
    return [str(error).splitlines()[0] for error in kept[-count:]]


# Numbers are given from 0 on, in either Java.
print("before Spark: the error is of", "the call" if "Integer.parseInt" in errors(1)[0] else "another")
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
others = {error for error in errors(60) if "Integer.parseInt" not in error}
spark.stop()
print("with Spark: some are of", *(error.split("z:")[1].split(". ")[0] for error in others))
py4j.java_gateway.get_return_value = py4j.protocol.get_return_value
count = sum("Integer.parseInt" in error for error in errors(60))
print(f"with py4j's own function put back: {count} of 60 errors are of the call")
PYTHON
cat seen
diff seen - <<'EXPECTED'
before Spark: the error is of the call
with Spark: some are of org.apache.spark.util.Utils.exceptionString
with py4j's own function put back: 60 of 60 errors are of the call
EXPECTED
