#!/usr/bin/env bash
# ZooKeeper 3.8.0: the command `wchs`, "brief information on watches for the server" in its manual, counts the watches on data
# and existence alone. Watches on children, which queues, locks and group membership set, are not in it, nor in `wchc` and
# `wchp`. `mntr` counts both kinds in zk_watch_count. A monitor that watches `wchs` sees none of a leak of child watches.
#
# Seen: after ten watches on children and one on data, wchs says 1 watch, mntr 11
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
import re
import socket
import sys

from kazoo.client import KazooClient


def four_letters(word):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        connection.sendall(word)
        return connection.makefile().read()


client = KazooClient(f"127.0.0.1:{sys.argv[1]}", timeout=30)
client.start()
for n in range(10):
    client.create(f"/{n}")
    client.get_children(f"/{n}", watch=print)
client.get("/0", watch=print)
of_wchs = int(re.search(r"Total watches:(\d+)", four_letters(b"wchs"))[1])
of_mntr = int(re.search(r"zk_watch_count\t(\d+)", four_letters(b"mntr"))[1])
print(f"after ten watches on children and one on data, wchs says {of_wchs}, mntr {of_mntr}")
assert (of_wchs, of_mntr) == (1, 11)
PYTHON
