#!/usr/bin/env bash
# ZooKeeper 3.8.0: all nodes that one transaction (multi) changes get the same mzxid, and all that it creates one czxid: the
# number belongs to the transaction, not to an operation. A zxid as a fencing token or as the order of creation, as recipes use
# it, does not tell the nodes of one transaction apart. The sequence in a name does.
#
# Seen: three nodes created in one transaction: one czxid, three sequences; written in one transaction: one mzxid
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

client = KazooClient(f"127.0.0.1:{sys.argv[1]}", timeout=30)
client.start()
transaction = client.transaction()
for _ in range(3):
    transaction.create("/entry-", sequence=True)
paths = transaction.commit()
created = {client.exists(path).czxid for path in paths}
transaction = client.transaction()
for path in paths:
    transaction.set_data(path, b"taken")
transaction.commit()
written = {client.exists(path).mzxid for path in paths}
print(f"three nodes created in one transaction: czxid {created}, {paths}; written in one: mzxid {written}")
assert len(set(paths)) == 3
assert len(created) == len(written) == 1
PYTHON
