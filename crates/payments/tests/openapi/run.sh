#!/usr/bin/env bash
# Asks a running demonstration everything that its OpenAPI document allows, and much that it does not:
#   pip install schemathesis==4.32.5
#   PAYMENTS_DATA=payments-data crates/payments/tests/openapi/run.sh http://127.0.0.1:7390
# No answer may be a 500, or one that the document does not name. DELETE is left out: it ends the tester's own sessions.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export SCHEMATHESIS_HOOKS="$here/hooks.py" PAYMENTS_DATA=${PAYMENTS_DATA:-payments-data}
exec schemathesis run "${1:-http://127.0.0.1:7390}/openapi.json" --exclude-method DELETE --max-examples "${EXAMPLES:-200}" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
