#!/bin/sh
# Set up this server for Observ: packages, credential, configuration, one unit for each application.
#
#   install.sh --server NAME --url URL --app APP [--app APP...] [--package FILE.deb...] [--password-file FILE] [--token]
#
# NAME and the login in URL (without its password) are what fleet_hub_admin enroll printed; with --token the login
# is the token that fleet_hub_admin token printed, and the server enrolls itself under NAME, once. The password is read
# from FILE, from standard input, or asked for: it is in no command line. A configuration that is there already
# stays; what is missing is written. Run again, it mends what is not as it should be. For Debian and Ubuntu, as root.
set -eu

CREDENTIALS=/etc/credstore
DEPLOYMENTS=/opt/deployments
ROW_SECONDS=60

say() { echo "install.sh: $*"; }
die() { echo "install.sh: $*" >&2; exit 1; }
usage() { sed -n '4,9s/^# \{0,3\}//p' "$0" >&2; exit 64; }

server='' url='' apps='' packages='' password_file='' token=''
while [ $# -gt 0 ]; do
	if [ "$1" = --token ]; then
		token=1
		shift
		continue
	fi
	case $1 in
	--server|--url|--app|--package|--password-file) [ $# -ge 2 ] || { echo "install.sh: $1 needs a value" >&2; usage; } ;;
	esac
	case $1 in
	--server) server=$2 ;;
	--url) url=$2 ;;
	--app) apps="$apps $2" ;;
	--package) packages="$packages $(realpath -- "$2")" ;;
	--password-file) password_file=$2 ;;
	*) echo "install.sh: what is $1?" >&2; usage ;;
	esac
	shift 2
done
if [ -z "$server" ] || [ -z "$url" ] || [ -z "$apps" ]; then
	echo "install.sh: --server, --url and --app are needed" >&2
	usage
fi

# ---- what cannot be mended later ------------------------------------------------------------
case $url in
postgresql://*:*@*|postgres://*:*@*) die "the URL has a password in it, which others see in the list of processes: leave it out" ;;
postgresql://?*@?*|postgres://?*@?*) ;;
*) die "the URL must be postgresql://ROLE@HOST/DATABASE" ;;
esac
for app in $apps; do
	case $app in *[!A-Za-z0-9._-]*|.*|-*) die "$app: an application's name has letters, digits, '.', '_' and '-'" ;; esac
done

[ "$(id -u)" = 0 ] || die "run it as root"
[ -r /etc/os-release ] || die "no /etc/os-release: this is neither Debian nor Ubuntu"
# shellcheck disable=SC1091
case " $(. /etc/os-release; echo "${ID-} ${ID_LIKE-}") " in
*" debian "*|*" ubuntu "*) ;;
*) die "for Debian and Ubuntu only; elsewhere: make install" ;;
esac
[ -d /run/systemd/system ] || die "systemd does not run here"

password() {
	if [ -n "$password_file" ]; then
		cat -- "$password_file"
	elif [ -t 0 ]; then
		printf 'Password of %s: ' "$url" >&2
		stty -echo; trap 'stty echo' EXIT
		IFS= read -r line; stty echo; trap - EXIT; echo >&2
		printf '%s' "$line"
	else
		cat
	fi
}

# All but letters and digits as %XX.
encode() { od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

# ---- packages --------------------------------------------------------------------------------
if [ -n "$packages" ]; then
	# shellcheck disable=SC2086  # a list
	DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $packages > /dev/null ||
		die "apt-get could not install $packages"
fi
command -v obs_agent > /dev/null || die "obs_agent is not installed: give its package with --package"

# ---- the login ---------------------------------------------------------------------------------
credential() { echo "$CREDENTIALS/obs-agent.$1.database_url"; }

# Of whichever application has one: it is the server's.
known_credential() {
	for file in "$(credential "${apps##* }")" "$CREDENTIALS"/obs-agent.*.database_url; do
		[ ! -s "$file" ] || { echo "$file"; return; }
	done
}

with_login() { printf '%s://%s:%s@%s' "${url%%://*}" "$1" "$(printf %s "$2" | encode)" "${url#*@}"; }

(umask 077; mkdir -p "$CREDENTIALS")
[ -w "$CREDENTIALS" ] || die "$CREDENTIALS cannot be written to"
known=$(known_credential)
if [ -n "$token" ] && [ -n "$known" ]; then
	say "$server has a login already, in $known: the token is not used"
	full_url=$(cat "$known")
else
	secret=$(password) || die "the password could not be read"
	[ -n "$secret" ] || die "the password is empty"
	login=$(printf %s "${url#*://}" | cut -d@ -f1)
	if [ -n "$token" ]; then
		made=$(printf '%s\n' "$secret" | obs_agent enroll --server "$server" --url "$url") || die "the token did not make a login for $server"
		login=${made%%:*} secret=${made#*:}
	fi
	full_url=$(with_login "$login" "$secret")
fi

# ---- each application --------------------------------------------------------------------------
write_credential() {
	(umask 077; printf '%s\n' "$full_url" > "$(credential "$1").new")
	mv "$(credential "$1").new" "$(credential "$1")"
}

write_config() {
	[ ! -e "$DEPLOYMENTS/$1/config.yml" ] || return 0
	mkdir -p "$DEPLOYMENTS/$1"
	cat > "$DEPLOYMENTS/$1/config.yml" <<-YAML
		monitoring:
		  enabled: true
		  vps_name: "$(printf %s "$server" | sed 's/[\\"]/\\&/g')"
		  postgres_url: \${CRED:database_url}
		  collection_interval: 60
		  log_files:
		    - $DEPLOYMENTS/{app}/current/logs/*.log
	YAML
	say "wrote $DEPLOYMENTS/$1/config.yml: add health checks and logs there"
}

wait_for_row() {
	n=0
	until obs_agent --app "$1" status 2> /dev/null | grep -q '"last_commit":"'; do
		n=$((n + 1))
		[ $n -lt $ROW_SECONDS ] || return 1
		sleep 1
	done
}

bad=0
for app in $apps; do
	write_credential "$app"
	write_config "$app"
	if ! obs_agent --app "$app" --check-config > /dev/null; then
		bad=1
		continue
	fi
	systemctl -q enable "obs-agent@$app"
	if systemctl restart "obs-agent@$app" && wait_for_row "$app"; then
		say "$app: the first row is in the database"
	else
		bad=1
		echo "install.sh: $app: no row after $ROW_SECONDS s; this is what obs_agent doctor says:" >&2
		obs_agent doctor --app "$app" >&2 || true
	fi
done
exit $bad
