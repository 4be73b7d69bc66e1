# bash completion for pyentry. Options, the values that they take, and commands come from `pyentry --help`.

_pyentry() {
	local current=${COMP_WORDS[COMP_CWORD]} options choices
	COMPREPLY=()
	# bash splits --name=value at the equals sign
	if [[ $current == "=" || ${COMP_WORDS[COMP_CWORD - 1]} == "=" ]]; then
		local name=${COMP_WORDS[COMP_CWORD - 1]}
		[[ $name == "=" ]] && name=${COMP_WORDS[COMP_CWORD - 2]}
		choices=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n "s/^  $name=\([a-z|]*\)$/\1/p")
		mapfile -t COMPREPLY < <(compgen -W "${choices//|/ }" -- "${current#=}")
		return
	fi
	if [[ $current == --* ]]; then
		options=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*=\{0,1\}\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
		return
	fi
	compopt -o default
	[[ $current == -* ]] && mapfile -t COMPREPLY < <(compgen -W "-c -m -i -I -E -s -S -O -OO -B -b -q -u -v -V -W -X -h" -- "$current")
}

complete -F _pyentry pyentry
