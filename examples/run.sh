#!/bin/sh
# Runs the examples of SDKs and tools against `gcg demo`, and says of each whether it does what it should: first on a
# gateway that anybody on this machine may use, then on one with a client. Nothing leaves this machine but what a
# language fetches to build its example.
#
#   sh run.sh                 all that can be run here
#   sh run.sh python go       these; one that cannot be run is then a failure
#
# GCG=…  is the command of the gateway (default: gcg of $PATH, else this package's own). Needs curl.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ALL='curl javascript python go java dotnet gc terraform'
NPM_SDK=purecloud-platform-client-v2
PIP_SDK=PureCloudPlatformClientV2
CLIENT=crm
SECRET=a-secret-of-this-run-alone
temp=$(mktemp -d)
demo=

end() {
  [ -z "$demo" ] || kill "$demo" 2>/dev/null || :
  [ -z "$demo" ] || wait "$demo" 2>/dev/null || :
  demo=
}
trap 'end; rm -rf "$temp"' EXIT
trap 'exit 130' INT TERM

# Proxies of the environment must not catch calls to localhost.
NO_PROXY="localhost,127.0.0.1,[::1]${NO_PROXY:+,$NO_PROXY}"
no_proxy=$NO_PROXY
export NO_PROXY no_proxy

gateway() {
  if [ -n "${GCG:-}" ]; then exec $GCG "$@"
  elif command -v gcg >/dev/null; then exec gcg "$@"
  else exec node "$here/../dist/main.js" "$@"
  fi
}

# What each example needs, or nothing where all is there.
lacks() {
  case $1 in
    curl) command -v curl >/dev/null || echo 'curl' ;;
    javascript)
      command -v node >/dev/null || { echo 'node'; return; }
      (cd "$here/javascript" && node -e "require.resolve('$NPM_SDK')" 2>/dev/null) || echo "npm install $NPM_SDK" ;;
    python)
      command -v python3 >/dev/null || { echo 'python3'; return; }
      python3 -c "import importlib.util as u; exit(u.find_spec('$PIP_SDK') is None)" || echo "pip install $PIP_SDK" ;;
    go) command -v go >/dev/null || echo 'go 1.24 or later' ;;
    java) { command -v java && command -v mvn; } >/dev/null || echo 'java 17 or later, and mvn' ;;
    dotnet) command -v dotnet >/dev/null || echo 'dotnet 8 or later' ;;
    gc) command -v gc >/dev/null || echo 'gc, the Genesys Cloud CLI' ;;
    terraform) command -v terraform >/dev/null || echo 'terraform' ;;
    *) echo "there is no example of that name: $ALL" ;;
  esac
}

# Each runs its example as its page says, in a copy where it builds something.
run_curl() { sh "$here/curl/calls.sh"; }
run_javascript() { node "$here/javascript/client-credentials.mjs"; }
run_python() { python3 "$here/python/main.py"; }
run_go() {
  cp "$here/go/main.go" "$temp/project/"
  cd "$temp/project" && go mod init example && go mod tidy && go run .
}
run_java() {
  cp "$here/java/pom.xml" "$here/java/ListUsers.java" "$temp/project/"
  mvn -q -f "$temp/project/pom.xml" compile exec:java
}
run_dotnet() {
  cp "$here/dotnet/list-users.csproj" "$here/dotnet/Program.cs" "$temp/project/"
  dotnet run --project "$temp/project"
}
run_gc() {
  # Its profiles are in the home folder, so it gets another one.
  HOME=$temp/project
  export HOME
  # A login of gc would ask the region; where a client is needed, its secret is the token.
  gc --environment "localhost:$GATEWAY_PORT" ${GATEWAY_SECRET:+--accesstoken "$GATEWAY_SECRET"} users list
}
run_terraform() {
  cp "$here/terraform/main.tf" "$temp/project/"
  export TF_VAR_gateway_client="${GATEWAY_CLIENT:-local}" TF_VAR_gateway_secret="${GATEWAY_SECRET:-local}"
  export TF_VAR_gateway_port="$GATEWAY_PORT"
  cd "$temp/project" && terraform init -input=false -no-color && terraform apply -auto-approve -input=false -no-color
}

# What the simulated organization answers.
expected() {
  case $1 in
    gc) echo '"total": *60' ;;
    terraform) echo 'organization = "Simulated Organization"' ;;
    curl) echo '"total":60' ;;
    *) echo '^60 users' ;;
  esac
}

# Starts a demo on a port of the system's choosing and waits until it is ready.
begin() {
  GATEWAY=
  (gateway demo --listen 127.0.0.1:0 "$@") >"$temp/demo.log" 2>&1 &
  demo=$!
  for _ in $(seq 100); do
    GATEWAY=$(sed -n -e 's/^The gateway listens on \(http:[^;]*\);.*/\1/p' \
      -e 's/^A rehearsal of .*, on \(http:.*\)\.$/\1/p' "$temp/demo.log")
    [ -n "$GATEWAY" ] && curl --silent --fail --noproxy '*' "$GATEWAY/readyz" >/dev/null && break
    kill -0 "$demo" 2>/dev/null || break
    sleep 0.2
  done
  if [ -z "$GATEWAY" ]; then
    cat "$temp/demo.log" >&2
    echo 'the demo did not start' >&2
    exit 1
  fi
  GATEWAY_PORT=${GATEWAY##*:}
  GATEWAY=http://localhost:$GATEWAY_PORT GATEWAY_HOST=localhost
  export GATEWAY GATEWAY_HOST GATEWAY_PORT
}

failed=0
passed=0
runnable=
for name in ${*:-$ALL}; do
  missing=$(lacks "$name")
  if [ -z "$missing" ]; then
    runnable="$runnable $name"
  elif [ $# -gt 0 ]; then
    echo "FAIL  $name: cannot be run here: $missing"
    failed=$((failed + 1))
  else
    echo "skip  $name: not here: $missing"
  fi
done

try() {
  for name in $runnable; do
    rm -rf "$temp/project"
    mkdir "$temp/project"
    if ("run_$name") >"$temp/out" 2>&1 && grep -q "$(expected "$name")" "$temp/out"; then
      echo "pass  $name, $1"
      passed=$((passed + 1))
    else
      echo "FAIL  $name, $1:"
      sed 's/^/      /' "$temp/out"
      failed=$((failed + 1))
    fi
  done
  end
}

unset GATEWAY_CLIENT GATEWAY_SECRET
if [ -n "$runnable" ]; then
  begin
  try 'on a gateway for everybody on this machine'

  cat >"$temp/gcg.ini" <<INI
[credential]
client_id = the-simulation-has-one
client_secret = of-its-own
[client.$CLIENT]
secret = $SECRET
INI
  chmod 600 "$temp/gcg.ini"
  begin --config "$temp/gcg.ini"
  GATEWAY_CLIENT=$CLIENT GATEWAY_SECRET=$SECRET
  export GATEWAY_CLIENT GATEWAY_SECRET
  try 'on a gateway with clients'
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
