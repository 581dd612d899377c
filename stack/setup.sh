#!/usr/bin/env bash
# Makes what the native stack runs on, once, into .venv and .build: the Python environment, the jars, the S3 server and
# the class archives of the Java programs. Each piece is made again only when what it is made from has changed.
# `setup.sh dev` adds what the tests need: more Python packages, the proxy that cuts links between parts, Docker's
# compose program. `setup.sh minio` adds MinIO, which only `make test-long` needs.
set -euo pipefail
cd "$(dirname "$0")/.."

build=.build
requirements=requirements.txt
[ "${1:-}" = dev ] && requirements='requirements-dev.txt'
uv_version=0.13.8
versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0
toxiproxy=github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
compose=github.com/docker/compose/v5@v5.5.1
# The newest that the module proxy gives: their releases are no module versions.
minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
mc=github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9

missing=0
need() { # command, what to install, test of the version (optional)
  if ! command -v "$1" >/dev/null 2>&1; then
    echo "etar: $1 is missing; install $2" >&2
    missing=1
  elif [ $# -gt 2 ] && ! bash -c "$3" >/dev/null 2>&1; then
    echo "etar: $1 is there but not as needed; install $2" >&2
    missing=1
  fi
}
need python3.11 "Python 3.11 with its venv module (Debian 12: apt-get install python3.11-venv)" "python3.11 -c 'import ensurepip'"
# shellcheck disable=SC2016  # expanded by the inner bash
need java "a Java 17 runtime, and have it first on PATH (Debian 12: apt-get install openjdk-17-jre-headless)" '
  java -version 2>&1 | grep -Eq "version \"17[.\"]"'
need mvn "Maven 3.8 or newer (Debian 12: apt-get install maven)"
# shellcheck disable=SC2016  # expanded by the inner bash
need go "Go 1.24 or newer, from your distribution's backports or from Go's own site" '
  [ "$(go env GOVERSION | sed -E "s/go1\.([0-9]+).*/\1/")" -ge 24 ]'
need setpriv "util-linux (Debian 12: apt-get install util-linux)"
[ "$missing" = 0 ] || exit 1

mkdir -p "$build/stamps" "$build/logs" "$build/bin"
began=$SECONDS
bar= # drawn under the lines for a person who waits: on a terminal, and not in CI
if [ -t 2 ] && [ -z "${CI:-}" ] && [ "${TERM:-dumb}" != dumb ]; then bar=1; fi
say() {
  [ -z "$bar" ] || printf '\r\033[K' >&2
  printf '  [%3d s] %s\n' "$((SECONDS - began))" "$1"
}

made() { [ "$(cat "$build/stamps/$1" 2>/dev/null)" = "$2" ]; } # name, what it was made from
mark() { printf '%s' "$2" >"$build/stamps/$1" && finished "$1"; }
finished() { echo "$1" >>"$build/logs/setup-finished"; }
hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
quietly() { # name, command...: the output goes to a log that is shown when the command fails
  local log="$build/logs/$1.log"
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "etar: setting up failed; the whole output is in $log" >&2
    return 1
  fi
}

make_s3_server() {
  quietly versitygw env GOBIN="$PWD/$build/bin" GOFLAGS=-trimpath go install -ldflags '-s -w' "$versitygw"
  mark versitygw "$versitygw"
  say "S3 server (versitygw) built"
}

make_proxy() { # its command is called "server", which would say nothing among ours
  quietly toxiproxy env GOBIN="$PWD/$build/toxiproxy" GOFLAGS=-trimpath go install -ldflags '-s -w' "$toxiproxy"
  mv "$build/toxiproxy/server" "$build/bin/toxiproxy"
  rmdir "$build/toxiproxy"
  mark toxiproxy "$toxiproxy"
  say "TCP proxy of the tests (toxiproxy) built"
}

make_compose() { # `go install` refuses it for a line of its go.mod, so it is built where the module cache has it
  local version="github.com/docker/compose/v5/internal.Version=${compose##*@}"
  quietly compose-module go mod download "$compose"
  quietly compose env CGO_ENABLED=0 go build -C "$(go env GOMODCACHE)/$compose" -trimpath -ldflags "-s -w -X $version" \
    -o "$PWD/$build/bin/docker-compose" ./cmd
  mark compose "$compose"
  say "Docker's compose program, which checks docker-compose.yml, built"
}

make_minio() { # the containers' S3 server, and the command line that makes its users
  quietly minio env GOBIN="$PWD/$build/bin" GOFLAGS=-trimpath go install -ldflags '-s -w' "$minio"
  quietly minio-client env GOBIN="$PWD/$build/bin" GOFLAGS=-trimpath go install -ldflags '-s -w' "$mc"
  mark minio "$minio $mc"
  say "MinIO built"
}

make_environment() { # the lock and the environment's own stamp inside it: deleting .venv deletes the stamp
  local lock=$1
  [ -x .venv/bin/python ] || python3.11 -m venv .venv
  quietly uv .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
  quietly environment .venv/bin/uv pip install --python .venv/bin/python --require-hashes -r "$requirements"
  quietly etar .venv/bin/uv pip install --python .venv/bin/python --no-build-isolation --no-deps --editable .
  printf '%s' "$lock" >.venv/etar-lock
  finished environment
  say "Python environment ready"
}

fetch_jars() { # profile of stack/pom.xml, or profile:folder where the folder has another name...
  local each profile folder
  for each in "$@"; do
    profile=${each%%:*}
    folder=$build/jars/${each#*:}
    rm -rf "${folder:?}"
    quietly "jars-$profile" mvn --batch-mode --update-snapshots --file stack/pom.xml --activate-profiles "$profile" \
      dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$PWD/$folder"
    say "jars of $profile fetched"
  done
}

make_jars() {
  fetch_jars kafka registry spark
  rm -rf "$build/registry"
  mkdir "$build/registry"
  tar -xzf "$build"/jars/registry/*.tar.gz -C "$build/registry"
  mark jars "$jars"
}

archive_file() { [ "$1" = registry ] && echo "$build/class-archives/$1.aot" || echo "$build/class-archives/$1.jsa"; }
archive_source() { # what the program is made from, and where: Java takes an archive only where its jars lie as they did
  local own=("stack/parts/$1.py")
  [ "$1" != spark-driver ] || own=(stack/parts/spark.py spark_apps/minute_report.py)
  hash_of stack/pom.xml requirements.txt stack/jvm.py stack/class_archives.py "${own[@]}"
  java -version 2>&1
  pwd
}

# A test environment holds everything a plain one does: do not make it smaller.
lock=$(hash_of "$requirements" requirements.txt pyproject.toml)
lock_of_tests=$(hash_of requirements-dev.txt requirements.txt pyproject.toml)
jars=$(hash_of stack/pom.xml)
dev=$([ "${1:-}" != dev ] || echo 1)
# Kafka Connect only where it is wanted: `make up SINK=connect`, which a stack remembers, and the tests, which need its
# file sink as well.
connect=$([ -z "$dev" ] && [ "${ETAR_STACK_SINK:-}" != connect ] && [ ! -d "$build/jars/connect" ] || echo 1)

archives=(spark-driver kafka registry)
[ -z "$connect" ] || archives+=(connect)
due=()
due_if() { if "${@:2}"; then due+=("$1"); fi; } # piece, a command that tells whether it is to be made
is_due() { [[ " ${due[*]} " == *" $1 "* ]]; }
built_anew() { ! made "$1" "$2" || [ ! -x "$build/bin/${3:-$1}" ]; } # stamp, what it is made from, its program
fetched_anew() { ! made "$1" "$jars"; }
environment_anew() {
  local there
  there=$(cat .venv/etar-lock 2>/dev/null) || there=
  [ "$there" != "$lock" ] && [ "$there" != "$lock_of_tests" ]
}
archive_anew() { ! made "archive-$1" "$(archive_source "$1")" || [ ! -f "$(archive_file "$1")" ]; }

due_if versitygw built_anew versitygw "$versitygw"
if [ -n "$dev" ]; then
  due_if compose built_anew compose "$compose" docker-compose
  due_if toxiproxy built_anew toxiproxy "$toxiproxy"
  due_if jars-connect-file fetched_anew jars-connect-file
  due_if jars-clickhouse fetched_anew jars-clickhouse
fi
if [ "${1:-}" = minio ]; then
  due_if minio built_anew minio "$minio $mc"
  is_due minio || due_if minio [ ! -x "$build/bin/mc" ]
fi
due_if environment environment_anew
due_if jars fetched_anew jars
[ -z "$connect" ] || due_if jars-connect fetched_anew jars-connect
for name in "${archives[@]}"; do due_if "archive-$name" archive_anew "$name"; done
[ "${#due[@]}" != 0 ] || exit 0

pids=()
s3_server_pid=
bar_pid=
end() {
  for pid in "${pids[@]}" $bar_pid; do kill "$pid" 2>/dev/null || true; done
  [ -z "$bar" ] || printf '\r\033[K' >&2
}
trap end EXIT
: >"$build/logs/setup-finished"
draw_bar() {
  local number full left
  number=$(wc -l <"$build/logs/setup-finished")
  printf -v full '%*s' "$number" ''
  printf -v left '%*s' "$((${#due[@]} - number))" ''
  printf '\r\033[K  [%s%s] %d of %d pieces, %d s' "${full// /#}" "${left// /-}" "$number" "${#due[@]}" \
    "$((SECONDS - began))" >&2
}
if [ -n "$bar" ]; then
  while sleep 1; do draw_bar; done &
  bar_pid=$!
fi

# The S3 server is by far the longest: it builds while the rest is fetched.
if is_due versitygw; then
  say "building the S3 server (versitygw), about two minutes"
  make_s3_server &
  s3_server_pid=$!
  pids+=("$s3_server_pid")
fi

if is_due compose; then
  say "building Docker's compose program, about two minutes"
  make_compose &
  pids+=($!)
fi

if is_due toxiproxy; then
  say "building the TCP proxy of the tests (toxiproxy), about ten seconds"
  make_proxy
fi

if is_due minio; then
  say "building MinIO for its tests, some five minutes"
  make_minio
fi

if is_due environment; then
  say "making the Python environment from $requirements (about 2 GB, one to two minutes)"
  make_environment "$lock"
fi

if is_due jars; then
  say "fetching the jars of Kafka, the schema registry and Spark's S3 client (about 210 MB)"
  make_jars
fi

# A plugin is a folder of jars: a worker is told the folder of such folders.
if is_due jars-connect; then
  say "fetching the jars of Kafka Connect (about 60 MB)"
  fetch_jars connect connect-converter:connect-plugins/converter
  mark jars-connect "$jars"
fi
if is_due jars-connect-file; then
  fetch_jars connect-file:connect-test-plugins/file
  mark jars-connect-file "$jars"
fi
if is_due jars-clickhouse; then
  fetch_jars clickhouse-client-of-sink clickhouse-client
  mark jars-clickhouse "$jars"
fi

make_archive() {
  local name=$1
  is_due "archive-$name" || return 0
  say "making the class archive of $name, which halves its start"
  if quietly "archive-$name" .venv/bin/python -m stack.class_archives "$name"; then
    mark "archive-$name" "$(archive_source "$name")"
  else
    echo "etar: without it $name starts more slowly, and all else is as it should be" >&2
  fi
}

# Spark's, which takes a minute of one core, reads from S3 and writes to it; the others take as long together.
[ -z "$s3_server_pid" ] || wait "$s3_server_pid"
make_archive spark-driver &
pids+=($!)
for name in "${archives[@]:1}"; do make_archive "$name"; done

for pid in "${pids[@]}"; do wait "$pid"; done
pids=()
