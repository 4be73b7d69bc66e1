# bash completion for pyentry. Options, the values that they take, and commands come from `pyentry --help`.

# Whether the program has begun: what follows is its own.
_pyentry_in_program() {
	local i word before
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]} before=${COMP_WORDS[i - 1]}
		[[ $word == -[cm]* ]] && return 0
		[[ $word == [-=]* || $before == "=" || $before == --[a-z]* || $before == -[WX] ]] || return 0
	done
	return 1
}

# bash splits --name=value at the equals sign; of auto|N it is auto that can be offered, of FILE any file.
_pyentry_value() {
	local name=$1 current=$2 values
	[[ $name == --* ]] || return 0 # the second equals sign of a value
	values=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n "s/^  $name=//p")
	[[ $values == *FILE* ]] && compopt -o default 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -W "$(tr '|' '\n' <<<"$values" | grep -x '[a-z]*')" -- "$current")
}

_pyentry() {
	local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options
	COMPREPLY=()
	if _pyentry_in_program; then
		compopt -o default 2>/dev/null
	elif [[ $current == "=" ]]; then
		_pyentry_value "$before" ""
	elif [[ $before == "=" ]]; then
		_pyentry_value "${COMP_WORDS[COMP_CWORD - 2]}" "$current"
	elif [[ $current == --* ]]; then
		options=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*=\{0,1\}\).*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
	else
		compopt -o default
		[[ $current == -* ]] && mapfile -t COMPREPLY < <(compgen -W "-c -m -i -I -E -s -S -O -OO -B -b -q -u -v -V -W -X -h" -- "$current")
	fi
}

complete -F _pyentry pyentry
