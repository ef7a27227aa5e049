#!/bin/sh
# Runs a command with a gateway beside it, and ends with the command's exit code: for CI and cron, where the gateway needs
# a port of your choice and a log file of its own. Else `gcg run -- npm test` does it in one line.
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

# What waiting does not mend, a wrong secret for one, ends it at once with 77; see gcg wait --help.
status=0
$GCG wait --listen "127.0.0.1:$PORT" --timeout "${TIMEOUT:-60s}" --fail-fast || status=$?
if [ "$status" -ne 0 ]; then
  echo "the gateway is not ready; its log:" >&2
  cat "$LOG" >&2
  exit "$status"
fi

env -u GCG_CREDENTIAL_CLIENT_ID -u GCG_CREDENTIAL_CLIENT_SECRET GATEWAY_URL="http://127.0.0.1:$PORT" "$@" || status=$?
exit "$status"
