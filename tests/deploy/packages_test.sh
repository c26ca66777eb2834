#!/usr/bin/env bash
# deploy/packages.sh against a make-believe package system: what it asks apt-get for, and what it says where it cannot.
# Usage: packages_test.sh SOURCE_DIRECTORY
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree/deploy"
cp "$1/deploy/packages.sh" "$work/tree/deploy/"  # it writes into the build directory of the tree it lies in
script=$work/tree/deploy/packages.sh
failures=0

expect() {  # expect WHAT PATTERN FILE
  if ! grep -q -E -- "$2" "$3"; then
    printf 'FAILED: %s: no line matches %s in:\n' "$1" "$2"
    cat "$3"
    failures=$((failures + 1))
  fi
}
refuse() {
  if grep -q -E -- "$2" "$3"; then
    printf 'FAILED: %s: a line matches %s in:\n' "$1" "$2"
    cat "$3"
    failures=$((failures + 1))
  fi
}

# A system that holds exactly the tools the script uses, with packages $installed, user id $uid, and sudo only if $sudo is set.
tools=$work/tools
mkdir "$tools"
for tool in bash env dirname sort xargs printf mktemp cat echo; do ln -s "$(type -P "$tool")" "$tools/$tool"; done
cat >"$tools/dpkg-query" <<'FAKE'
#!/usr/bin/env bash
for name in $installed; do
  if [[ $name == "${!#}" ]]; then printf 'ii '; exit 0; fi
done
exit 1
FAKE
cat >"$tools/apt-get" <<'FAKE'
#!/usr/bin/env bash
echo "apt-get $* frontend=${DEBIAN_FRONTEND:-}" >>"$calls"
FAKE
cat >"$tools/id" <<'FAKE'
#!/usr/bin/env bash
echo "$uid"
FAKE
chmod +x "$tools"/dpkg-query "$tools"/apt-get "$tools"/id
export calls=$work/calls installed='' uid=0

run() {  # run NAME ARGUMENTS…: leaves $calls, $work/out and $code
  : >"$calls"
  code=0
  shift
  PATH=$tools "$script" "$@" >"$work/out" 2>&1 || code=$?
}
status() {
  if [[ $code -ne $2 ]]; then
    printf 'FAILED: %s: status %s instead of %s; it said:\n' "$1" "$code" "$2"
    cat "$work/out"
    failures=$((failures + 1))
  fi
}

run root build
status "root, nothing there" 0
expect "root, nothing there" '^apt-get update .*frontend=noninteractive' "$calls"
expect "root, nothing there" '^apt-get install -y .*--no-install-recommends cmake .*libnghttp2-dev' "$calls"

installed=$("$script" --list build | xargs)
run complete build
status "all there" 0
refuse "all there: nothing may be asked of apt-get" . "$calls"

installed=${installed/cmake/}
run one build
expect "one is missing" '^apt-get install -y -qq --no-install-recommends cmake frontend' "$calls"

uid=1000
run user build
status "neither root nor sudo" 1
refuse "neither root nor sudo" . "$calls"
expect "neither root nor sudo: names the missing package" 'installing: cmake' "$work/out"
expect "neither root nor sudo: names the remedy" "neither root nor sudo here; run 'deploy/packages.sh build' as root" "$work/out"

cat >"$tools/sudo" <<'FAKE'
#!/usr/bin/env bash
echo "sudo" >>"$calls"
exec "$@"
FAKE
chmod +x "$tools/sudo"
run sudo build
status "through sudo" 0
expect "through sudo" '^sudo' "$calls"
expect "through sudo" '^apt-get install .*frontend=noninteractive' "$calls"

# promtool is taken out of a package that is downloaded and not installed. The make-believe one holds a script.
mkdir -p "$work/package/DEBIAN" "$work/package/usr/bin"
printf 'Package: prometheus\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: none\n' \
  >"$work/package/DEBIAN/control"
printf '#!/bin/sh\necho promtool of the package\n' >"$work/package/usr/bin/promtool"
chmod +x "$work/package/usr/bin/promtool"
dpkg-deb -b "$work/package" "$work/prometheus_1_all.deb" >"$work/out" || cat "$work/out"
export package=$work/prometheus_1_all.deb
cat >>"$tools/apt-get" <<'FAKE'
if [[ $1 == download ]]; then cp "$package" .; fi
FAKE
for tool in cp rm mkdir install dpkg-deb tar; do ln -s "$(type -P $tool)" "$tools/$tool"; done
run promtool promtool
status "promtool" 0
expect "promtool is downloaded" '^apt-get download .*prometheus' "$calls"
refuse "promtool is not installed" 'apt-get install' "$calls"
if [[ $("$work/tree/build/tools/promtool") != "promtool of the package" ]]; then
  echo "FAILED: no promtool unpacked"
  failures=$((failures + 1))
fi
run promtool_again promtool
refuse "promtool is fetched once" . "$calls"

rm "$tools/dpkg-query"
run other build
status "not Debian" 1
expect "not Debian" 'not a Debian system.*cmake' "$work/out"

run unknown no-such-set
status "unknown set" 2
expect "unknown set" "unknown set 'no-such-set'; use build" "$work/out"

run none
status "no set" 2
exit "$((failures > 0))"
