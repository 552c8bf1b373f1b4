# Sourced by ./python, ./pants and make_locks: finds interpreters and fetches what a fresh machine lacks.
# Everything lands in git-ignored folders of the repository; nothing is installed on the machine.
# shellcheck shell=bash

TORCH_VERSION=2.13.0
UV_VERSION=0.13.8
PANTS_VERSION=2.17.1
PEX_VERSION=2.1.137
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu # asked only if pip's own configuration has no CPU build

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
BOOTSTRAP=$ROOT/.bootstrap
UV=$BOOTSTRAP/uv-$UV_VERSION/bin/uv
mkdir -p "$BOOTSTRAP"

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "$*"
  exit 69
}

find_python() { # $@ = minor versions, best first; prints an interpreter that can make a virtual environment
  local minor candidate
  for minor in "$@"; do
    for candidate in "$(command -v "python3.$minor" || true)" \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python /usr/local/bin/"python3.$minor" \
      /opt/homebrew/bin/"python3.$minor" "$HOME"/.local/bin/"python3.$minor"; do
      if [ -x "$candidate" ] && "$candidate" -c "import ensurepip, venv, sys; sys.exit(sys.version_info[1] != $minor)" 2>/dev/null; then
        printf '%s\n' "$candidate"
        return
      fi
    done
  done
  return 1
}

require_python() { # $1 = what for, the rest as find_python
  local purpose=$1
  shift
  find_python "$@" || die "no Python 3.$1 found; $purpose. Install python3.$1 with its venv module, for example 'apt install python3.$1-venv' or 'pyenv install 3.$1'."
}

ensure_uv() { # one small tool that installs the lock in seconds
  [ -x "$UV" ] && return
  local python
  python=$(require_python "the project runs on Python 3.11" 11) || exit
  say "fetching uv $UV_VERSION"
  rm -rf "$BOOTSTRAP"/uv-*
  "$python" -m venv "$BOOTSTRAP/uv-$UV_VERSION.part"
  "$BOOTSTRAP/uv-$UV_VERSION.part/bin/python" -m pip install -qq "uv==$UV_VERSION" ||
    die "pip could not fetch uv $UV_VERSION. Check the network or pip's index settings (pip config list), then run this again."
  mv "$BOOTSTRAP/uv-$UV_VERSION.part" "$BOOTSTRAP/uv-$UV_VERSION"
}

ensure_torch_wheel() { # the CPU build of torch, which PyPI does not have, into .wheels/
  local pip
  compgen -G "$ROOT/.wheels/torch-$TORCH_VERSION+cpu-*.whl" >/dev/null && return
  pip=("$BOOTSTRAP/uv-$UV_VERSION/bin/python" -m pip download --no-deps -d "$ROOT/.wheels.part" "torch==$TORCH_VERSION+cpu")
  say "fetching torch $TORCH_VERSION, CPU build (190 MB)"
  mkdir -p "$ROOT/.wheels"
  rm -rf "$ROOT/.wheels.part"
  "${pip[@]}" -qq 2>/dev/null || "${pip[@]}" --index-url "$TORCH_CPU_INDEX" ||
    die "the CPU build of torch $TORCH_VERSION is neither in pip's index settings nor at $TORCH_CPU_INDEX. Check the network, or put the wheel into .wheels/."
  mv "$ROOT"/.wheels.part/*.whl "$ROOT/.wheels/"
  rmdir "$ROOT/.wheels.part"
}

locked() { # takes one lock a name; a second process waits instead of building the same thing
  exec 9>"$BOOTSTRAP/$1.lock"
  if command -v flock >/dev/null; then
    flock -n 9 || {
      say "another process is setting up; waiting for it"
      flock 9
    }
  fi
}
