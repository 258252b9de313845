#!/bin/sh
# Prints the first Python >= 3.12 that runs and can make virtual environments; otherwise says what is missing, exit 1.
# Every candidate is run, because a name on PATH proves nothing: pyenv puts a shim there for each version it has,
# and the shim fails unless that version is selected.
minimum=3.12
check="import sys; sys.exit(0 if sys.version_info >= (3, 12) else 3)"
without_venv=
too_old=

pyenv_pythons() {
    command -v pyenv >/dev/null 2>&1 || return 0
    for version in "$(pyenv root 2>/dev/null)"/versions/3.*/bin/python; do
        [ -x "$version" ] && echo "$version"
    done
}

try() {
    "$1" -c "$check" >/dev/null 2>&1
    case $? in
        0) ;;
        3) too_old="$too_old $1"; return 1 ;;
        *) return 1 ;;
    esac
    if ! "$1" -c "import ensurepip, venv" >/dev/null 2>&1; then
        without_venv="$without_venv $1"
        return 1
    fi
    echo "$1"
}

if [ -n "$PYTHON" ] && ! try "$PYTHON"; then
    echo "PYTHON=$PYTHON is not a working Python >= $minimum with venv; looking for another" >&2
elif [ -n "$PYTHON" ]; then
    exit 0
fi

for candidate in python3 python3.12 python3.13 python3.14 $(pyenv_pythons); do
    try "$candidate" && exit 0
done

if [ -n "$without_venv" ]; then
    first=${without_venv# }; first=${first%% *}
    version=$("$first" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    echo "found$without_venv, but without ensurepip, so it cannot make a virtual environment." >&2
    echo "On Debian and Ubuntu: apt-get install $version-venv (or python3-venv). Then run make again." >&2
else
    echo "no working Python >= $minimum found${too_old:+ (too old:$too_old)}." >&2
    echo "Install one (Debian 13: apt-get install python3 python3-venv python3-dev; elsewhere pyenv install 3.12)," >&2
    echo "or name one: make PYTHON=/path/to/python3.12" >&2
fi
exit 1
