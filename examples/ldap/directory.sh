#!/usr/bin/env bash
# Starts a directory of directory.ldif on port 3890 (or LDAP_PORT) of this machine and runs a command while it is there. Needs Debian's slapd.
set -euo pipefail
export LDAP_PORT=${LDAP_PORT:-3890}
url=ldap://127.0.0.1:$LDAP_PORT
here=$(cd "$(dirname "$0")" && pwd)

folder=$(mktemp -d)
server=
# Ends the process that this script started, and nothing else.
finish() {
  [ -z "$server" ] || { kill "$server" && wait "$server" || true; }
  rm -rf "$folder"
}
trap finish EXIT

mkdir "$folder/data"
cat > "$folder/slapd.conf" <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
database mdb
suffix "dc=example,dc=com"
directory $folder/data
overlay ppolicy
# Passwords are for logging in only; the account that Muster uses sees everything else, and can change nothing.
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=example,dc=com" read by * none
limits dn.exact="cn=reader,dc=example,dc=com" size=unlimited time=unlimited
CONF

/usr/sbin/slapadd -q -f "$folder/slapd.conf" -l "$here/directory.ldif"
# With -d the server stays a child of this script.
/usr/sbin/slapd -f "$folder/slapd.conf" -h "$url" -d 0 &
server=$!
until ldapwhoami -x -H "$url" >/dev/null 2>&1; do
  kill -0 "$server"
  sleep 0.1
done

"$@"
