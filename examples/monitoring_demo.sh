#!/bin/sh
# Structured logging, metrics collection and health checks in one run, without a
# database: the example shop runs for some seconds with visitors, and the agent
# does one round over it, printing what it would write to PostgreSQL.
#
#   make all examples && examples/monitoring_demo.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${OBSERV_BUILD:-${BUILD:-$here/../build}}
work=$(mktemp -d)
shop=

finish() {
	[ -z "$shop" ] || { kill "$shop" 2>/dev/null && wait "$shop"; } || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

say() {
	printf '\n== %s\n' "$1"
}

for program in "$build/examples/shop/shop" "$build/obs_agent/obs_agent"; do
	[ -x "$program" ] || { echo "$0: $program is missing; run: make all examples" >&2; exit 1; }
done

SHOP_LOG=$work/shop.log
mkfifo "$work/url"
"$build/examples/shop/shop" --log "$SHOP_LOG" --port 0 --traffic 10 --seed 1 > "$work/url" &
shop=$!
read -r url < "$work/url" || { echo "$0: the shop did not start" >&2; exit 1; }
SHOP_PORT=${url##*:}
SHOP_PORT=${SHOP_PORT%/}
# Never connected to: the round is a dry one.
DATABASE_URL=postgresql://nobody@127.0.0.1:9/nothing
export SHOP_LOG SHOP_PORT DATABASE_URL

say "Structured logging: the shop at $url writes one JSON line an event"
sleep 2
tail -n 8 "$SHOP_LOG"

say "Metrics, health checks and log lines: one round of obs_agent, as JSON"
"$build/obs_agent/obs_agent" --app shop --config "$here/shop/config.yml" --once --dry-run > "$work/round"

say "metrics"
grep '^{"table":"vps_metrics"' "$work/round"
say "health checks"
grep '^{"table":"health_checks"' "$work/round"
say "log lines ($(grep -c '^{"table":"log_entries"' "$work/round") in all)"
grep '^{"table":"log_entries"' "$work/round" | tail -n 5
