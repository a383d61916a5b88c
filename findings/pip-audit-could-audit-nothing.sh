#!/usr/bin/env bash
# pip-audit 2.10.1 ends with exit code 0 and "No known vulnerabilities found" although it could audit nothing: packages that the
# index does not know are skipped, and skipped packages count as good. A job of CI that asks a mirror without the vulnerability
# data, or audits an environment of private packages, is green for ever. --strict makes a skipped package an error.
#
# Seen for an environment of one package that is on no index: exit code 0, with --strict 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.10.1
info="$folder/site/private_package_of_this_script-1.0.dist-info"
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: private-package-of-this-script\nVersion: 1.0\n' > "$info/METADATA"
usual=0; said=$("$folder/venv/bin/pip-audit" --path "$folder/site" 2>&1) || usual=$?
strict=0; "$folder/venv/bin/pip-audit" --strict --path "$folder/site" >/dev/null 2>&1 || strict=$?
echo "$said"
echo "exit code $usual, with --strict $strict"
grep -q "No known vulnerabilities found" <<< "$said" || { echo "the text has changed"; exit 1; }
grep -q "could not be audited" <<< "$said" || { echo "the package was not skipped"; exit 1; }
[ "$usual" = 0 ] || { echo "the exit code has changed"; exit 1; }
[ "$strict" = 1 ] || { echo "--strict has changed"; exit 1; }
