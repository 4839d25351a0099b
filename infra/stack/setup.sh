#!/usr/bin/env bash
# Sets up everything the stack needs: a Python environment, Java, Maven, the jars. Run it as often as you like:
# finished steps are skipped by their stamp, so the second time needs no network, and an interrupted step is redone
# (a stamp is written last, by rename). KEFULAKE_SETUP=quiet says nothing when there was nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=.venv STAMP=.venv/.kefulake-installed
began=$SECONDS

say() { printf '%s\n' "$*"; }
step() { printf '[set-up %3d s] %s\n' "$((SECONDS - began))" "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

make_environment() {
    "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && return
    local python
    local -a found
    mapfile -t found < <(infra/stack/pythons_by_speed.sh)
    [[ ${#found[@]} -gt 0 || -z ${KEFULAKE_PYTHON:-} ]] || fail "KEFULAKE_PYTHON=$KEFULAKE_PYTHON is no Python 3.11"
    for python in "${found[@]}"; do
        step "making the Python environment $VENV with $python"
        if command -v uv >/dev/null && uv venv --quiet --clear --seed --python "$python" "$VENV"; then return; fi
        "$python" -m venv --clear "$VENV" && return
    done
    [[ ${#found[@]} -eq 0 ]] || fail "none of them could. Debian, Ubuntu: apt-get install python3.11-venv"
    if command -v uv >/dev/null && uv venv --quiet --clear --seed --python 3.11 "$VENV"; then return; fi
    fail "Python 3.11 was not found (Flink 2.3 runs on no newer one). Install it, e.g. apt-get install python3.11-venv,
or: curl -LsSf https://astral.sh/uv/install.sh | sh   (uv brings Python 3.11 itself). KEFULAKE_PYTHON names another path."
}

install_packages() {
    local wanted
    wanted=$(cat requirements.lock setup.cfg pyproject.toml | sha256sum | cut -d' ' -f1)
    [[ -f $STAMP && $(<"$STAMP") == "$wanted" ]] && return
    step "installing the Python packages of requirements.lock (1.7 GB; about a minute once downloaded)"
    local -a install
    if command -v uv >/dev/null; then
        install=(uv pip install --python "$VENV/bin/python")
    elif "$VENV/bin/python" -m pip install --quiet uv 2>/dev/null; then
        install=("$VENV/bin/uv" pip install --python "$VENV/bin/python")
    else
        install=("$VENV/bin/python" -m pip install)
    fi
    # The lock is complete; resolved anew, Splink would bring igraph (GPL), which nothing here imports.
    "${install[@]}" --no-deps -r requirements.lock || fail "the packages could not be installed; is the package index reachable?"
    "${install[@]}" --quiet --no-deps -e . || fail "the project itself could not be installed into $VENV"
    printf '%s' "$wanted" >"$STAMP.new"
    mv "$STAMP.new" "$STAMP"
}

# Installs system packages where that is ours to do (root, or sudo without a password), else says what to install.
apt_install() {
    local why=$1 package=$2
    local -a as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null || fail "$why Please install $package (sudo apt-get install $package)."
        as_root=(sudo -n)
    fi
    command -v apt-get >/dev/null || fail "$why Please install $package with this system's package manager."
    step "installing $package"
    { "${as_root[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$package"; } >/dev/null ||
        fail "$why apt-get could not install $package; please install it by hand."
}

need_java() {
    "$VENV/bin/python" -m infra.stack.java >/dev/null 2>&1 || apt_install "Java 17 or newer was not found." openjdk-17-jre-headless
}

need_jars() {
    "$VENV/bin/python" -m infra.stack.jars --check && return
    command -v mvn >/dev/null || apt_install "Maven (mvn) was not found." maven
    step "fetching the jars of Kafka, Flink, Spark and MariaDB (240 MB)"
    "$VENV/bin/python" -m infra.stack.jars || fail "the jars could not be fetched; see above"
}

make_environment
install_packages
need_java
need_jars
if ((SECONDS - began > 3)); then step "done"; fi
