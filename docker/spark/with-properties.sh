#!/bin/sh
# Puts the properties of the image and the secret of this installation into one file, if there is a secret, and becomes
# the command.
set -eu
secret=${SECRETS:-/run/secrets}/spark_authentication.properties
properties=${SPARK_PROPERTIES:-/run/etar/spark.properties}
if [ -f "$secret" ]; then
  (umask 077 && cat "$(dirname "$0")/spark.properties" "$secret" >"$properties")
fi
exec "$@"
