# bash completion of obs_agent(8)
_obs_agent()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	# "--option=word" arrives in three pieces.
	[ "$cur" != = ] || cur=
	[ "$prev" != = ] || prev=${COMP_WORDS[COMP_CWORD-2]}
	case $prev in
	--app)
		local configs=("${OBSERV_DEPLOYMENTS:-/opt/deployments}"/*/config.yml) names=()
		[ ! -e "${configs[0]}" ] || names=("${configs[@]%/config.yml}")
		mapfile -t COMPREPLY < <(compgen -W "${names[*]##*/}" -- "$cur")
		return ;;
	--config)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	--print-keys)
		mapfile -t COMPREPLY < <(compgen -W 'text markdown man schema' -- "$cur")
		return ;;
	esac
	if [[ " ${COMP_WORDS[*]:0:COMP_CWORD} " == *' explain '* && $cur != -* ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W '--app --config --check-config --print-config --print-keys --print-formats --once --dry-run
		--version --help --server --url status reload doctor explain enroll' -- "$cur")
}
complete -F _obs_agent obs_agent
