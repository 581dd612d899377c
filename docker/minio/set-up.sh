#!/bin/sh
# Makes the bucket and the users with what each may do; what is there already stays. mc takes secrets from its input:
# a command line is for everyone to see.
set -eu
policies=${POLICIES:-/opt/etar/stack/s3_policies}
secrets=${SECRETS:-/run/secrets}

printf '%s\n%s\n' etar-root "$(cat "$secrets/minio_root_password")" | mc --quiet alias set store "$MINIO_URL" >/dev/null
mc --quiet mb --ignore-existing store/etar

user() { # name, file of its secret
  printf '%s\n%s\n' "$1" "$(cat "$secrets/$2")" | mc --quiet admin user add store >/dev/null
  mc --quiet admin policy create store "$1" "$policies/$1.json"
  # Attached twice is an error.
  mc --quiet admin user info store "$1" | grep -q "PolicyName: $1\$" || mc --quiet admin policy attach store "$1" --user "$1"
}
user etar etar_s3_secret_access_key
user etar-spark spark_s3_secret
user etar-reader reader_s3_secret
