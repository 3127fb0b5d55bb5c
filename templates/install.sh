#!/bin/sh
# Set up this server for Observ: packages, credential, configuration, one unit for each application.
set -euf

CREDENTIALS=/etc/credstore
DEPLOYMENTS=/opt/deployments
UNITS=/etc/systemd/system
ROW_SECONDS=60
REFUSED=2               # what wait_for_row says where waiting does not help
HUB_ACCESS=$CREDENTIALS/observ.hub      # the hub's address and this server's token, for deploy-hook.sh
# The packages that the hub offers, "SHA256  FILE.deb" a line; the hub writes this when it serves the file.
OFFERED=''

say() { echo "install.sh: $*"; }
die() { echo "install.sh: $*" >&2; exit 1; }
usage() {
	cat <<-'END'
	install.sh --server NAME --url URL --app APP [--app APP...] [--package FILE.deb...]
	           [--password-file FILE] [--token] [--user USER] [--group GROUP]
	install.sh --token TOKEN | --token-file FILE --url https://HUB [--server NAME] [--app APP...]
	           [--user USER] [--group GROUP]

	Run it as root, on Debian or Ubuntu. The second form, which the hub prints, asks the hub for a login
	and for the packages that it offers, and verifies their checksums. Others on this machine see TOKEN in
	the list of processes while the script runs; nobody sees the first line of FILE (- is standard input).
	NAME is that of the server whose
	token it is, or this machine's. Without APP it sets up each application in /opt/deployments that has a
	section monitoring, or else "host", for the machine alone.

	The first form asks the database. fleet_hub_admin enroll prints NAME and the login in URL (without
	its password). With --token the login is the token that fleet_hub_admin token printed, and the server
	enrolls itself under NAME, once. install.sh reads the password from FILE or standard input, or asks
	for it: no command line shows it. It keeps a configuration that exists and writes what is missing. A
	second run repairs an installation. USER is the application's user, who gets a new folder for logs.
	GROUP is one more group by which the agent may read logs.
	END
}
misuse() { echo "install.sh: $*" >&2; usage >&2; exit 64; }
newline='
'

# The applications are words of one string, so a name with a blank must not get there.
check_app() {
	case $1 in
	*[!A-Za-z0-9._-]*|.*|-*) die "$1: an application's name has letters, digits, '.', '_' and '-'," \
		"and does not begin with '.' or '-'" ;;
	*) [ ${#1} -le 100 ] || die "$1: an application's name has at most 100 characters" ;;
	esac
	case $1 in
	APPLICATION) die "put the name of your application in the place of APPLICATION" ;;
	esac
}

server='' url='' apps='' packages='' password_file='' token='' token_value='' token_file='' hub=''
user=root group=''
while [ $# -gt 0 ]; do
	case $1 in
	--token)
		token=1
		shift
		case ${1-} in ''|-*) ;; *) token_value=$1; shift ;; esac
		continue
		;;
	--help|-h) usage; exit ;;
	--server|--url|--app|--package|--password-file|--token-file|--user|--group)
		[ -n "${2-}" ] || misuse "$1 needs a value" ;;
	esac
	case $1 in
	--server) server=$2 ;;
	--url) url=$2 ;;
	--app) check_app "$2"; apps="$apps $2" ;;
	--package) packages="$packages$(realpath -- "$2")$newline" ;;
	--password-file) password_file=$2 ;;
	--token-file) token_file=$2 token=1 ;;
	--user) user=$2 ;;
	--group) group=$2 ;;
	*) misuse "what is $1?" ;;
	esac
	shift 2
done
case $url in http://*|https://*) hub=${url%/} ;; esac
if [ -n "$token_file" ]; then
	[ "$token_file" = - ] || [ -r "$token_file" ] || die "$token_file cannot be read"
	token_value=$(if [ "$token_file" = - ]; then head -n 1; else head -n 1 -- "$token_file"; fi)
fi
if [ -n "$hub" ]; then
	[ -n "$token_value" ] ||
		misuse "--token TOKEN or --token-file FILE is needed with the address of a hub"
	case $token_value in
	*[!A-Za-z0-9._-]*) misuse "that is no token: it has letters, digits, '_' and '-'" ;;
	esac
elif [ -z "$server" ] || [ -z "$url" ] || [ -z "$apps" ]; then
	misuse "--server, --url and --app are needed"
fi

# ---- what cannot be mended later ------------------------------------------------------------
is_here() { printf %s "$1" | grep -Eqx 'http://(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?(/.*)?'; }
case $hub in
https://*|'') ;;
*) is_here "$hub" ||
	die "$hub has no TLS: others would see the token; use the https:// address of the hub" ;;
esac
case $url in
*@DATABASE-HOST[:/]*) die "put the address of your database in the place of DATABASE-HOST" ;;
esac
[ "$server" != NAME ] || die "put the name of this server in the place of NAME"
embedded() { die "the URL has a password in it, which others see in the list of processes: leave it out"; }
case ${url%%\?*} in
postgresql://*:*@*|postgres://*:*@*) embedded ;;
postgresql://?*@?*|postgres://?*@?*|http://?*|https://?*) ;;
*) die "the URL must be postgresql://ROLE@HOST/DATABASE" ;;
esac
case $url in *[?\&]password=*) embedded ;; esac
login=${url#*://} login=${login%%@*}
case $login in obs_token_*)
	[ -n "$token" ] || die "$login is a token, which writes nothing itself: add --token" ;;
esac
# shellcheck disable=SC2016
case $server in *'${'*|*[[:cntrl:]]*|' '*|*' ')
	die "a server's name has no control characters, no \${ and no space at its ends" ;;
esac
[ "$(printf %s "$server" | wc -c)" -le 128 ] || die "a server's name has at most 128 bytes"

id -u -- "$user" > /dev/null 2>&1 || die "there is no user $user"
[ -z "$group" ] || getent group -- "$group" > /dev/null || die "there is no group $group"
[ "$(id -u)" = 0 ] || die "run it as root"
[ -r /etc/os-release ] || die "no /etc/os-release: this is neither Debian nor Ubuntu"
# shellcheck disable=SC1091
case " $(. /etc/os-release; echo "${ID-} ${ID_LIKE-}") " in
*" debian "*|*" ubuntu "*) ;;
*) die "for Debian and Ubuntu only; elsewhere: make install" ;;
esac
[ -d /run/systemd/system ] || die "systemd does not run here"

ask() {
	printf 'Password of %s: ' "$login" >&2
	trap 'stty echo; exit 130' INT TERM HUP
	stty -echo
	IFS= read -r line
	stty echo
	trap - INT TERM HUP
	echo >&2
	printf '%s' "$line"
}

# Those that we make have no blanks, which come with copying, nor ends of lines.
password() {
	if [ -n "$password_file" ]; then
		cat -- "$password_file"
	elif [ -t 0 ]; then
		ask
	else
		cat
	fi | tr -d ' \t\r\n'
}

# All but letters and digits as %XX.
encode() { od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

# ---- packages --------------------------------------------------------------------------------
# What the hub offers goes into a folder of root's; a file whose checksum is not the one in this script, which
# came from the hub as a whole, is not installed.
fetch_offered() {
	mkdir "$work/packages"
	printf '%s\n' "$OFFERED" > "$work/sums"
	while read -r sum file; do
		curl -fsSL --max-filesize 100000000 -o "$work/packages/$file" "$hub/install/$file" ||
			die "$hub/install/$file cannot be fetched"
		echo "$sum  $work/packages/$file" | sha256sum --quiet -c - > /dev/null 2>&1 ||
			die "$file is not what the hub promised: its checksum differs. Run the command again"
		packages="$packages$work/packages/$file$newline"
	done < "$work/sums"
	chmod 755 "$work" "$work/packages"      # apt reads them as its own user
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
if [ -n "$hub" ] && [ -n "$OFFERED" ]; then fetch_offered; fi
if [ -n "$packages" ]; then
	# shellcheck disable=SC2086  # a list, one a line
	(
		IFS=$newline
		DEBIAN_FRONTEND=noninteractive \
			apt-get -q -y --no-install-recommends install $packages > /dev/null
	) || die "apt-get could not install $packages"
fi
command -v obs_agent > /dev/null || die "obs_agent is not installed: give its package with --package," \
	"or let the hub offer it (packages in hub.conf)"

# ---- what is there already -----------------------------------------------------------------------
config() { echo "$DEPLOYMENTS/$1/config.yml"; }
credential() { echo "$CREDENTIALS/obs-agent.$1.database_url"; }

find_apps() {
	for file in $(set +f; echo "$DEPLOYMENTS"/*/config.yml); do
		app=${file%/config.yml} app=${app##*/}
		case $app in *[!A-Za-z0-9._-]*|.*|-*) continue ;; esac
		[ ! -f "$file" ] || ! grep -q '^monitoring:' "$file" || echo "$app"
	done
}
if [ -z "$apps" ]; then apps=$(find_apps); fi
if [ -z "$apps" ]; then apps=host; fi

name_server() {
	server=$1
	quoted=$(printf %s "$server" | sed 's/[\\"]/\\&/g')
	section="monitoring:
  enabled: true
  vps_name: \"$quoted\"
  postgres_url: \${CRED:database_url}"
}
name_server "${server:-$(hostname)}"

check_name() {
	name=$(sed -n 's/^[[:space:]]*vps_name:[[:space:]]*//p' "$1" | sed 's/[[:space:]]*#.*//; 1q')
	# shellcheck disable=SC2016
	case $name in
	''|*'${'*|"$server"|"\"$quoted\""|"'$server'") ;;
	*) die "$1 says vps_name: $name, not $server: what is there, or --server, is wrong" ;;
	esac
}

# Another's link would have us write, or systemd read, where only root may.
for app in $apps; do
	for file in "$(config "$app")" "$DEPLOYMENTS/$app/.env.production"; do
		[ ! -L "$file" ] || die "$file is a symbolic link: put the file itself there"
		[ -f "$file" ] || [ ! -e "$file" ] || die "$file is not a regular file"
	done
	[ -e "$(config "$app")" ] || continue
	grep -q '^monitoring:' "$(config "$app")" || die "$(config "$app") has no section monitoring: add
$section"
	[ -n "$hub" ] || check_name "$(config "$app")"
done

# ---- the login ---------------------------------------------------------------------------------
# Of a credential that this script wrote; it is the server's, and the same for all applications.
login_in() { sed -n 's|^[a-z]*://\([^:@/]*\):.*|\1|p' "$1"; }

find_known() {
	find "$CREDENTIALS" -name 'obs-agent.*.database_url' -size +0 | sort | while IFS= read -r file; do
		case $(login_in "$file") in ''|obs_token_*) ;; *) echo "$file"; break ;; esac
	done
}

# The name under which the application of a credential writes; this one's if its configuration does not tell.
known_name() {
	app=${1##*/obs-agent.}
	name=$(sed -n 's/^[[:space:]]*vps_name:[[:space:]]*"\{0,1\}\([^"]*\)"\{0,1\}[[:space:]]*$/\1/p' \
		"$(config "${app%.database_url}")" 2> /dev/null | sed 1q)
	echo "${name:-$server}"
}

with_login() { printf '%s://%s:%s@%s' "${url%%://*}" "$1" "$(printf %s "$2" | encode)" "${url#*@}"; }

# The value of a text in the hub's answer.
answered() {
	sed -n 's/.*"'"$1"'" *: *"\(\([^"\\]\|\\.\)*\)".*/\1/p' "$work/answer" |
		sed 's/\\\(["\\/]\)/\1/g'
}

# A server's token enrolls that server, a bootstrap token a new one. The token goes to curl by standard input.
enroll_over_http() {
	printf '{"hostname": "%s"}' "$quoted" > "$work/question"
	status=$(printf 'header = "Authorization: Bearer %s"\n' "$token_value" |
		curl -sS -K - -H 'Content-Type: application/json' --data-binary "@$work/question" \
			-o "$work/answer" -w '%{http_code}' "$hub/api/v1/agents/enroll") ||
		die "$hub does not answer"
	[ "$status" = 201 ] || die "the hub refuses: $(answered detail) (status $status)"
	name_server "$(answered name)"
	full_url=$(answered database_url)
	[ -n "$full_url" ] || die "the hub does not say where agents reach the database:" \
		"set agents_database in its hub.conf, and run this again"
	(umask 077; printf '%s\n%s\n' "$hub" "$(answered agent_token)" > "$HUB_ACCESS.new" &&
		mv "$HUB_ACCESS.new" "$HUB_ACCESS")
	for app in $apps; do [ ! -e "$(config "$app")" ] || check_name "$(config "$app")"; done
	say "this server is \"$server\" at $hub"
}

(umask 077; mkdir -p "$CREDENTIALS")
known=$(find_known)
if [ -n "$known" ] && [ -z "$hub" ]; then
	app=${known##*/obs-agent.}
	[ ! -e "$(config "${app%.database_url}")" ] || check_name "$(config "${app%.database_url}")"
fi
secret=''
if { [ -z "$known" ] || [ -z "$token" ]; } && [ -z "$hub" ]; then secret=$(password); fi
if [ -n "$known" ] &&
	{ [ -n "$token" ] || { [ -z "$secret" ] && [ "$(login_in "$known")" = "$login" ]; }; }; then
	say "this machine has the login $(login_in "$known") already, in $known"
	full_url=$(cat "$known")
	[ -z "$hub" ] || name_server "$(known_name "$known")"
elif [ -n "$hub" ]; then
	enroll_over_http
else
	[ -n "$secret" ] || die "the password is empty"
	if [ -n "$token" ]; then
		for app in $apps; do    # room for what is made only once
			(umask 077; head -c 4096 /dev/zero > "$(credential "$app").new") ||
				die "no room in $CREDENTIALS"
		done
		made=$(printf '%s\n' "$secret" | obs_agent enroll --server "$server" --url "$url") || {
			for app in $apps; do rm -f "$(credential "$app").new"; done
			die "the token did not make a login for $server"
		}
		login=${made%%:*} secret=${made#*:}
	fi
	full_url=$(with_login "$login" "$secret")
fi

# Is the credential what the configuration asks for? One that was written by hand may have its own way.
uses_credential() {
	# shellcheck disable=SC2016
	[ ! -e "$(config "$1")" ] || grep -q '\${CRED:database_url}' "$(config "$1")"
}

write_credential() {
	if ! uses_credential "$1"; then
		say "$(config "$1") has a postgres_url of its own: the password is not kept for it"
		return
	fi
	credential=$(credential "$1")
	(umask 077; printf '%s\n' "$full_url" > "$credential.new" && mv "$credential.new" "$credential") ||
		die "$credential cannot be written; when there is room: fleet_hub_admin enroll," \
			"for another password of $login"
}

# Logs belong to group adm, by which the agent reads them. Makes no folder where others could put a link.
make_log_folder() {
	[ ! -e "$DEPLOYMENTS/$1/current" ] || { echo current/logs; return; }
	[ -e "$DEPLOYMENTS/$1/logs" ] ||
		[ -z "$(find "$DEPLOYMENTS/$1" -maxdepth 0 -user root ! -perm /022)" ] ||
		install -d -m 2750 -o "$user" -g adm "$DEPLOYMENTS/$1/logs"
	echo logs
}

# make_file FILE: from standard input, whole or not at all. The folder may belong to others, who can put
# anything there at any moment: dd and ln make a new name only, and never follow a link that has it. (The
# shell's set -C follows one to a FIFO.)
make_file() (
	umask 022
	rm -f -- "$1.new" && dd of="$1.new" conv=excl status=none && ln -T -- "$1.new" "$1" &&
		rm -f -- "$1.new"
)

write_config() {
	if [ -f "$(config "$1")" ] && [ ! -L "$(config "$1")" ]; then return 0; fi
	mkdir -p "$DEPLOYMENTS/$1"
	folder=$(make_log_folder "$1")
	printf '%s\n  collection_interval: 60\n  log_files:\n    - %s/{app}/%s/*.log\n' \
		"$section" "$DEPLOYMENTS" "$folder" |
		make_file "$(config "$1")" ||
		die "$(config "$1") cannot be written; remove what is there in its place, and run this again"
	say "wrote $(config "$1"): it follows $DEPLOYMENTS/$1/$folder/*.log;" \
		"add health checks and other logs there"
}

add_group() {
	[ -n "$group" ] || return 0
	mkdir -p "$UNITS/obs-agent@$1.service.d"
	printf '[Service]\nSupplementaryGroups=%s\n' "$group" > "$UNITS/obs-agent@$1.service.d/log-group.conf"
	systemctl daemon-reload
}

# Not all the time where the answer does not change.
wait_for_row() {
	n=0
	while [ $n -lt $ROW_SECONDS ]; do
		case $(obs_agent --app "$1" status 2> /dev/null || true) in
		*'"last_commit":"'*) return 0 ;;
		*'authentication failed'*|*'may write as server'*|*'certificate'*) return $REFUSED ;;
		esac
		n=$((n + 1))
		sleep 1
	done
	return 1
}

# Stops an agent that the database refused, so that it does not try a wrong password again and again. Keeps a
# login that a token made: there will be no second one.
take_back() {
	systemctl -q disable --now "obs-agent@$1" || true
	if [ -z "$token" ] && uses_credential "$1"; then rm -f "$(credential "$1")"; fi
	echo "install.sh: $1: its agent was stopped and disabled again;" \
		"when what doctor names is right, run this again" >&2
}

set_up() {
	write_config "$1"
	write_credential "$1"
	add_group "$1"
	obs_agent --app "$1" --check-config > /dev/null || return
	systemctl -q enable "obs-agent@$1"
	came=0
	{ systemctl restart "obs-agent@$1" && wait_for_row "$1"; } || came=$?
	if [ $came = 0 ]; then
		say "$1: the first row is in the database"
		return
	fi
	echo "install.sh: $1: no row came; this is what obs_agent doctor says:" >&2
	obs_agent doctor --app "$1" >&2 || true
	[ $came != $REFUSED ] || take_back "$1"
	return 1
}

bad=0
for app in $apps; do
	set_up "$app" || bad=1
done
exit $bad
