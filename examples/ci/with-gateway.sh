#!/bin/sh
# Runs a command with a gateway beside it, and ends with the command's exit code: for CI and cron.
#   GCG_GENERAL_HOST=mypurecloud.de GCG_CREDENTIAL_CLIENT_ID=… GCG_CREDENTIAL_CLIENT_SECRET=… sh with-gateway.sh npm test
# The command finds the gateway at $GATEWAY_URL and needs no secret: its environment has none of those variables.
set -eu
GCG=${GCG:-gcg}
PORT=${PORT:-8080}
LOG=${LOG:-gateway.log}

# A mistake in the configuration is told at once, with its exit code.
$GCG check --listen "127.0.0.1:$PORT" >/dev/null

# $GCG may be several words, `node gateway/dist/main.js`.
$GCG serve --listen "127.0.0.1:$PORT" --log-format json >"$LOG" 2>&1 &
gateway=$!
trap 'kill "$gateway" 2>/dev/null; wait "$gateway" || true' EXIT

if ! $GCG wait --listen "127.0.0.1:$PORT" --timeout "${TIMEOUT:-60s}"; then
  echo "the gateway is not ready; its log:" >&2
  cat "$LOG" >&2
  exit 1
fi

status=0
env -u GCG_CREDENTIAL_CLIENT_ID -u GCG_CREDENTIAL_CLIENT_SECRET GATEWAY_URL="http://127.0.0.1:$PORT" "$@" || status=$?
exit "$status"
