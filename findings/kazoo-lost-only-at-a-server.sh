#!/usr/bin/env bash
# kazoo 2.11.0 against ZooKeeper 3.8.0: a client whose server falls silent is told LOST only when it reaches a server again,
# however long ago the session timeout passed. Until then its state is SUSPENDED, while the server has ended the session,
# deleted its ephemeral nodes and let other clients create them. A holder of a lock that waits for LOST before it stops
# believes for all that time in a lock that another one has. Only a clock of its own tells it.
#
# Seen, session timeout 4 s, silence of 14 s: SUSPENDED at 2.1 s, the node deleted at 4.4 s, LOST at 14.0 s
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
import socket
import sys
import threading
import time

from kazoo.client import KazooClient

SILENCE = 14
port = int(sys.argv[1])
silent = threading.Event()


def forward(source, target):
    while data := source.recv(65536):
        while silent.is_set():
            time.sleep(0.01)
        target.sendall(data)


def accept(listener):
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for pair in ((near, far), (far, near)):
            threading.Thread(target=forward, args=pair, daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
other = KazooClient(f"127.0.0.1:{port}")
other.start()
client = KazooClient(f"127.0.0.1:{listener.getsockname()[1]}", timeout=4)
client.start()
client.create("/mine", ephemeral=True)
states = {}
start = time.monotonic()
client.add_listener(lambda state: states.setdefault(state, time.monotonic() - start))
silent.set()
while other.exists("/mine"):
    time.sleep(0.05)
deleted = time.monotonic() - start
time.sleep(SILENCE - deleted)
known = list(states)
silent.clear()
while "LOST" not in states and time.monotonic() < start + 60:
    time.sleep(0.05)
print(f"SUSPENDED at {states['SUSPENDED']:.1f} s, the node deleted at {deleted:.1f} s, LOST at {states['LOST']:.1f} s")
assert deleted < SILENCE / 2
assert known == ["SUSPENDED"], "kazoo now says LOST by its own clock"
PYTHON
