#!/usr/bin/env bash
# kazoo 2.11.0 against ZooKeeper 3.8.0: `LockingQueue.get()` that waits never returns once its folder of entries was deleted and
# created again, whatever is put there. Its watch fires with the deletion of the folder, is passed over since it tells of no
# child, and is not set again. A consumer that begins afterwards gets the entry at once.
#
# Seen: the first get still waits 5 s after a put; a new get returns the entry
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kazoo==2.11.0 gevent==26.9.0
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
from gevent import monkey

monkey.patch_all()
import sys

import gevent
from kazoo.client import KazooClient
from kazoo.handlers.gevent import SequentialGeventHandler


def connected():
    client = KazooClient(f"127.0.0.1:{sys.argv[1]}", handler=SequentialGeventHandler(), timeout=30)
    client.start()
    return client


consumer, operator = connected(), connected()
waiting = gevent.spawn(consumer.LockingQueue("/queue").get)
gevent.sleep(1)
operator.delete("/queue/entries")
operator.create("/queue/entries")
gevent.sleep(1)
operator.LockingQueue("/queue").put(b"job")
waiting.join(5)
returned = waiting.ready()
new = operator.LockingQueue("/queue").get(5)
print(f"the first get has returned: {returned}; a new get returns {new}")
assert not returned, "a waiting get survives a new folder"
assert new == b"job"
PYTHON
