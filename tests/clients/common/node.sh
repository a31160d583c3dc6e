# Sourced by the `prepare` and `run` of the suites in JavaScript. `here` is the suite's folder.
# The packages live outside the checkout, in $SUITE_HOME.
suite=$(basename "$here")
home=${SUITE_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla-clients/$suite}

prepare_node() { # versions are pinned by package-lock.json; install scripts do not run
  command -v node >/dev/null && command -v npm >/dev/null || { echo "node or npm is not on PATH"; exit 77; }
  local want
  want=$(cat "$here/package.json" "$here/package-lock.json" <(node --version) | cksum)
  [ "$(cat "$home/.prepared" 2>/dev/null)" != "$want" ] || return 0
  mkdir -p "$home"
  cp "$here/package.json" "$here/package-lock.json" "$home/"
  (cd "$home" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  echo "$want" >"$home/.prepared"
}
