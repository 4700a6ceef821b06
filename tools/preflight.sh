#!/bin/sh
# Checks that this machine can build the server and make the Python environment. Installs nothing.
# Prints one line for each thing that is missing, with what to do about it; then the exit status is 1.
# Usage: tools/preflight.sh VENV PYTHON PACKAGE
#   VENV     the environment that make installs into; it need not exist
#   PYTHON   the Python that makes it; empty if none is new enough
#   PACKAGE  the crate that has the server's binary

venv=$1 python=$2 package=$3
failed=

missing() {
	printf '%s\n' "$1" >&2
	failed=1
}

# Whether version $1 is at least version $2.
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

check_directory() {
	[ -w . ] || missing "This directory is read-only: clone to one that you can write to."
}

check_cargo() {
	rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	if ! command -v cargo >/dev/null; then
		if [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
			missing "cargo is not on PATH: run  . \"${CARGO_HOME:-$HOME/.cargo}/env\"  and try again."
		else
			missing "cargo is missing: install Rust $rust or newer, see https://rustup.rs, and open a new terminal."
		fi
		return
	fi
	if ! said=$(cargo --version 2>&1); then
		missing "cargo does not run ($(printf '%s' "$said" | head -n 1)): try  rustup default stable"
		return
	fi
	found=$(printf '%s' "$said" | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
	if ! at_least "$found" "$rust"; then
		missing "cargo is $found, but the server needs Rust $rust or newer: run  rustup update stable  or see https://rustup.rs"
		return
	fi
	check_cargo_home
}

# cargo can do without writing there if all crates are there already.
check_cargo_home() {
	home=${CARGO_HOME:-$HOME/.cargo}
	if { mkdir -p "$home" 2>/dev/null && [ -w "$home" ]; } || cargo tree --offline --locked --package "$package" --edges normal,build >/dev/null 2>&1; then
		return
	fi
	missing "cargo cannot write to $home: name another directory, such as  export CARGO_HOME=\"\$PWD/target/cargo\""
}

check_compiler() {
	if ! command -v cc >/dev/null; then
		missing "cc, the C compiler, is missing: install it, such as  apt install gcc libc6-dev  or  xcode-select --install"
	elif ! echo '#include <stdlib.h>' | cc -x c -fsyntax-only - >/dev/null 2>&1; then
		missing "cc finds no C headers: install them, such as  apt install libc6-dev  or  xcode-select --install"
	fi
}

check_python() {
	if [ -e "$venv/bin/python" ] || [ -L "$venv/bin/python" ]; then
		check_environment
	elif [ -z "$python" ]; then
		found=$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)
		missing "${found:+python3 is $found, but }Python 3.11 or newer is needed: install it, or name one, such as  make demo PYTHON=/path/to/python3"
	elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		missing "PYTHON=$python is not Python 3.11 or newer: name another."
	elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
		missing "$python cannot make environments: install its venv module, such as  apt install python3-venv"
	fi
}

check_environment() {
	if ! found=$("$venv/bin/python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
		missing "The Python of $venv does not run: remove $venv, and make will make it again."
	elif ! at_least "$found" 3.11; then
		missing "$venv has Python $found, but 3.11 or newer is needed: remove it, or name another with VENV=path."
	elif ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
		missing "$venv has no pip: run  $venv/bin/python -m ensurepip"
	fi
}

check_directory
check_cargo
check_compiler
check_python
exit ${failed:-0}
