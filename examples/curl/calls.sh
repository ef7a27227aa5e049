#!/bin/sh
# Calls through the gateway with curl. Without [client] sections no authentication is needed; with them, set GATEWAY_CLIENT and GATEWAY_SECRET.
# Run: GATEWAY=http://localhost:8080 sh calls.sh
set -eu
GATEWAY=${GATEWAY:-http://localhost:8080}
GATEWAY_CLIENT=${GATEWAY_CLIENT:-local}
GATEWAY_SECRET=${GATEWAY_SECRET:-local}

# A corporate proxy in the environment must not catch calls to localhost.
NO_PROXY="localhost,127.0.0.1,[::1]${NO_PROXY:+,$NO_PROXY}"
no_proxy=$NO_PROXY
export NO_PROXY no_proxy

# Kept out of the process list: curl reads its options from standard input.
ask() {
  printf 'header = "X-Gateway-Key: %s"\n' "$GATEWAY_SECRET" | curl --silent --show-error --fail-with-body --config - "$@"
}

echo '# is it ready?'
curl --silent --show-error --fail-with-body "$GATEWAY/readyz"

echo '# the client secret as X-Gateway-Key'
ask "$GATEWAY/api/v2/users?pageSize=1"
echo

echo '# a POST'
ask --json '{"interval":"2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"}' "$GATEWAY/api/v2/analytics/conversations/details/query"
echo

echo '# as an SDK does it: a login, then calls with what it gave'
handle=$(printf 'user = "%s:%s"\n' "$GATEWAY_CLIENT" "$GATEWAY_SECRET" |
  curl --silent --show-error --fail-with-body --config - --data grant_type=client_credentials "$GATEWAY/oauth/token" |
  sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
bearer() {
  printf 'header = "Authorization: Bearer %s"\n' "$handle" | curl --silent --show-error --fail-with-body --config - "$@"
}
bearer "$GATEWAY/api/v2/organizations/me"
echo

echo '# and the end of it: only this handle, nobody else is logged out'
bearer --request DELETE "$GATEWAY/api/v2/tokens/me"
