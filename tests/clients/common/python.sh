# Sourced by the `prepare` and `run` of the suites in Python. `here` is the suite's folder.
# The packages live outside the checkout, in $SUITE_HOME.
suite=$(basename "$here")
home=${SUITE_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla-clients/$suite}

# prepare_python NAME REQUIREMENTS: a virtual environment with the pinned packages.
prepare_python() {
  command -v python3 >/dev/null || { echo "python3 is not on PATH"; exit 77; }
  python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "python3 lacks venv or pip"; exit 77; }
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 is older than 3.11"; exit 77; }
  local want
  want=$(cat "$2" <(python3 --version) | cksum)
  [ "$(cat "$home/$1/.prepared" 2>/dev/null)" != "$want" ] || return 0
  rm -rf "${home:?}/$1"
  mkdir -p "$home"
  python3 -m venv "$home/$1"
  "$home/$1/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: -r "$2" >&2
  echo "$want" >"$home/$1/.prepared"
}
