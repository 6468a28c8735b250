#!/bin/sh
# Installs Steadfast from this archive into a new folder, without a network: ./install.sh FOLDER [PYTHON]
set -eu
folder=${1:?"name the folder to install into: ./install.sh FOLDER [PYTHON]"}
python=${2:-python3}
if [ -e "$folder" ]; then
    echo "$folder exists; name a new folder, or remove it" >&2
    exit 2
fi
case $folder in
    /*) ;;
    *) folder=$PWD/$folder ;;
esac
case $python in
    /*) ;;
    */*) python=$PWD/$python ;;
esac
cd "$(dirname "$0")"

sha256sum --quiet --check SHA256SUMS
made_for=$(cat PYTHON)
"$python" -c 'import platform, sys; found = ".".join(platform.python_version_tuple()[:2]) + " " + platform.machine()
sys.exit(0 if found == sys.argv[1] else f"the wheels are for Python {sys.argv[1]}, and this is {found}; name another")' \
    "$made_for"
"$python" -m venv "$folder"
PIP_CONFIG_FILE=/dev/null "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
    --find-links wheels --require-hashes --requirement requirements/serve.txt --requirement requirements/files.txt
PIP_CONFIG_FILE=/dev/null "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
    wheels/steadfast-*.whl
cp -R packages "$folder/packages"
echo "installed; serve the packages: STEADFAST_ZOO=$folder/packages $folder/bin/steadfast serve"
