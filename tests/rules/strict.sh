# shellcheck shell=sh
# Sourced by the entries of `make check`: what to do where a tool is missing.

# skip WHAT WHY: end as skipped, or as failed where a skip is a failure.
skip() {
	echo "SKIP: $1: $2"
	if [ -n "${PYENTRY_TEST_STRICT:-}" ] && [ "$PYENTRY_TEST_STRICT" != 0 ]; then
		echo "PYENTRY_TEST_STRICT is set: a skip is a failure"
		exit 1
	fi
	exit 77
}
