#!/bin/sh
# A deployment tool calls this behind each release: it sets up or reloads the agent of the application, and
# records the release.
set -euf

DEPLOYMENTS=/opt/deployments
HUB_ACCESS=/etc/credstore/observ.hub    # install.sh wrote the hub's address and this server's token there
INSTALL=/usr/share/observ/install.sh
SECONDS_MAX=20

say() { echo "deploy-hook.sh: $*"; }
warn() { echo "deploy-hook.sh: $*" >&2; bad=1; }
usage() {
	cat <<-'END'
	deploy-hook.sh APP [RELEASE]

	Run it as root. RELEASE is by default the name of the folder to which
	/opt/deployments/APP/current leads. The exit status is 1 if something could not be done; the script
	says what, and a deployment need not end by that.
	END
}

case ${1-} in
--help|-h) usage; exit ;;
''|-*) usage >&2; exit 64 ;;
*[!A-Za-z0-9._-]*|.*)
	echo "deploy-hook.sh: $1: an application's name has letters, digits, '.', '_' and '-'" >&2
	exit 64
	;;
esac
app=$1
release=${2-}
bad=0
[ "$(id -u)" = 0 ] || { echo "deploy-hook.sh: run it as root" >&2; exit 1; }
if [ -z "$release" ] && [ -e "$DEPLOYMENTS/$app/current" ]; then
	release=$(readlink -f -- "$DEPLOYMENTS/$app/current")
	release=${release##*/}
fi

hub() { sed -n 1p "$HUB_ACCESS"; }
token() { sed -n 2p "$HUB_ACCESS"; }
json() { printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }

# An agent that runs reads its configuration again. Another is set up as install.sh does it; the server's
# login is there already. The token goes by standard input: others see arguments.
set_up() {
	if systemctl -q is-active "obs-agent@$app"; then
		systemctl reload "obs-agent@$app" || warn "$app: the agent could not be reloaded"
	elif [ ! -r "$HUB_ACCESS" ]; then
		warn "$app: no agent runs, and this server does not know its hub: run install.sh for $app"
	elif [ ! -r "$INSTALL" ]; then
		warn "$INSTALL is missing: install the package obs-agent"
	else
		token | sh "$INSTALL" --token-file - --url "$(hub)" --app "$app" ||
			warn "$app: no agent was set up"
	fi
}

# The token goes to curl by standard input, where others don't see it.
record() {
	if [ ! -r "$HUB_ACCESS" ]; then
		warn "this server does not know its hub: the release is not recorded"
		return
	fi
	printf 'header = "Authorization: Bearer %s"\n' "$(token)" |
		curl -fsS -m "$SECONDS_MAX" -K - -o /dev/null -H 'Content-Type: application/json' \
			--data-binary "{\"app\": $(json "$app"), \"release\": $(json "$release")}" \
			"$(hub)/api/v1/deploys" || { warn "the hub did not take the release"; return; }
	say "$app: release $release is recorded"
}

set_up
record
exit "$bad"
