# setup.sh - sourced by ops/demo and ops/test: installs what is missing and
# builds. Only apt runs as root; everything else runs as the caller.
#
# Exit status 3 means: packages are missing and this user may not install them;
# the exact line for someone who may was printed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Debian 12 packages, each named, because recommended ones are not installed.
PACKAGES_RUN=(
  build-essential cmake ninja-build pkg-config ca-certificates
  libhiredis-dev libevent-dev libmicrohttpd-dev libjansson-dev
  libcurl4-openssl-dev libssl-dev libpcre2-dev libutf8proc-dev
  redis-server
  clang-19 lld-19 emscripten
  chromium chromium-sandbox fonts-dejavu-core
)
PACKAGES_TEST=(
  clang libclang-rt-14-dev clang-format openssl
)

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Run apt-get as root with the lists' lock waited for and a few tries.
apt_as_root() {
  local try
  for try in 1 2 3 4 5; do
    "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get \
      -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null && return
    say "apt-get $1 failed (try $try of 5)"
    sleep $((try * 3))
  done
  return 1
}

# A Redis service that the installation started is not ours to leave running.
disable_redis_service() {
  if [ -d /run/systemd/system ]; then
    "${AS_ROOT[@]}" systemctl disable --now redis-server.service >/dev/null 2>&1 || :
  else
    "${AS_ROOT[@]}" service redis-server stop >/dev/null 2>&1 || :
    "${AS_ROOT[@]}" update-rc.d redis-server disable >/dev/null 2>&1 || :
  fi
}

# install_packages NAME...: apt only where something is missing.
install_packages() {
  local missing=() name had_redis=1
  for name in "$@"; do installed "$name" || missing+=("$name"); done
  # A Node from elsewhere brings its own npm, with which Debian's conflicts.
  command -v npm >/dev/null || missing+=(nodejs npm)
  [ ${#missing[@]} -gt 0 ] || return 0

  AS_ROOT=()
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      AS_ROOT=(sudo)
    else
      say "packages are missing; run this as root, then start again:"
      printf 'apt-get update && apt-get install --yes --no-install-recommends %s\n' "${missing[*]}"
      exit 3
    fi
  fi
  installed redis-server || had_redis=0
  say "installing ${missing[*]}"
  apt_as_root update -qq
  apt_as_root install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
  [ "$had_redis" = 1 ] || disable_redis_service
}

# npm packages by the lock file, only when it changed.
install_npm() {
  cmp -s package-lock.json node_modules/.installed-lock && return
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error </dev/null
  cp package-lock.json node_modules/.installed-lock
}

# The pinned Node of the lock file; the system's may be older.
node() { node_modules/.bin/node "$@"; }

# build PRESET [TARGET...]
build() {
  local preset=$1 log=build/$1.log
  shift
  mkdir -p build
  say "building $preset"
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log"
    say "building $preset failed; the whole log is $log"
    return 1
  fi
}

# The engine for browsers, put beside the pages of the presets named.
build_wasm() {
  local preset
  build wasm
  for preset in "$@"; do
    mkdir -p "build/$preset/web/assets"
    cp -u build/wasm/*.wasm "build/$preset/web/assets/"
  done
}
