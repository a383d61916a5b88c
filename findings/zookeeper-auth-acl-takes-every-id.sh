#!/usr/bin/env bash
# ZooKeeper 3.8.0: a node created with the ACL scheme `auth` belongs to every id of the connection, not to the last log-in,
# nor to the id that the expression names: the expression is dropped. A program that logs in twice on one connection (or by a
# TLS certificate and by `digest`) shares its nodes among all these ids. To give a node to one id, use the scheme of that id.
#
# Seen: after log-ins as ann and bob, `auth` with the expression of ann becomes the ids of ann and bob
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kazoo==2.11.0
cat > "$folder/pom.xml" <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion><groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.zookeeper</groupId>
      <artifactId>zookeeper</artifactId><version>3.8.0</version></dependency>
    <dependency><groupId>io.dropwizard.metrics</groupId>
      <artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
    <dependency><groupId>org.xerial.snappy</groupId>
      <artifactId>snappy-java</artifactId><version>1.1.7.7</version></dependency>
  </dependencies>
</project>
XML
mvn -q -B -f "$folder/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$folder/jars" > "$folder/mvn.log" 2>&1
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf '%s\n' "dataDir=$folder/data" "clientPort=$port" clientPortAddress=127.0.0.1 tickTime=500 \
    admin.enableServer=false '4lw.commands.whitelist=wchs,mntr' > "$folder/zoo.cfg"
java -cp "$folder/jars/*" org.apache.zookeeper.server.ZooKeeperServerMain "$folder/zoo.cfg" > "$folder/log" 2>&1 &
server=$!
for _ in $(seq 100); do (: < "/dev/tcp/127.0.0.1/$port") 2> "$folder/tries" && break; sleep 0.3; done
"$folder/venv/bin/python" - "$port" 2> "$folder/errors" <<'PYTHON' || { tail -5 "$folder/errors"; exit 1; }
import sys

from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl

client = KazooClient(f"127.0.0.1:{sys.argv[1]}", timeout=30)
client.start()
client.add_auth("digest", "ann:one")
client.add_auth("digest", "bob:two")
client.create("/auth", acl=[make_acl("auth", "ann:one", all=True)])
client.create("/digest", acl=[make_digest_acl("ann", "one", all=True)])


def users(path):
    return sorted(acl.id.id.partition(":")[0] for acl in client.get_acls(path)[0])


print(f"scheme auth: {users('/auth')}, scheme digest: {users('/digest')}")
assert users("/auth") == ["ann", "bob"]
assert users("/digest") == ["ann"]
PYTHON
