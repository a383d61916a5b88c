#!/usr/bin/env bash
# kazoo 2.11.0 against ZooKeeper 3.8.0: fifty greenlets that each take from one LockingQueue take no more entries a second than
# one greenlet does. Each `get` lists the whole queue and tries its first free entry alone, so that all waiting consumers want
# the same entry; those that lose list the whole queue again.
#
# Seen, 2,000 entries, entries a second: 1 consumer 105, 50 consumers 86; on a busy machine 33 and 8
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
import time

import gevent
from kazoo.client import KazooClient
from kazoo.handlers.gevent import SequentialGeventHandler

SECONDS = 8


def rate(consumers):
    client = KazooClient(f"127.0.0.1:{sys.argv[1]}", handler=SequentialGeventHandler(), timeout=60)
    client.start()
    for _ in range(4):
        client.LockingQueue(f"/of-{consumers}").put_all([b"job"] * 500)
    taken = 0

    def consume():
        nonlocal taken
        queue = client.LockingQueue(f"/of-{consumers}")
        while True:
            if queue.get() is not None and queue.consume():
                taken += 1

    start = time.monotonic()
    greenlets = [gevent.spawn(consume) for _ in range(consumers)]
    gevent.sleep(SECONDS)
    found = taken / (time.monotonic() - start)
    gevent.killall(greenlets)
    client.stop()
    return found


one, fifty = rate(1), rate(50)
print(f"1 consumer {one:.0f} a second, 50 consumers {fifty:.0f} a second: {fifty / one:.1f} times as many")
assert fifty < 4 * one, "fifty consumers take more than one does"
PYTHON
