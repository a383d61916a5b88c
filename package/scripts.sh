# Shell functions that the maintainer scripts of both packages begin with.
UNITS='slipstream-job-server slipstream-job-executor slipstream-job-distributor@* geventjob'

has_systemd() { [ -d /run/systemd/system ]; }

add_user() {
    getent group slipstream >/dev/null || groupadd --system slipstream
    getent passwd slipstream >/dev/null ||
        useradd --system --gid slipstream --home-dir /var/lib/slipstream --no-create-home --shell /usr/sbin/nologin slipstream
    for folder in /var/lib/slipstream /var/log/slipstream /var/log/slipstream/log; do
        [ -d "$folder" ] || install -d -o slipstream -g slipstream -m 0750 "$folder"
    done
}

# Restart the active units one after the other: each drains, and its remaining jobs run again.
restart_units() {
    has_systemd || return 0
    systemctl daemon-reload
    systemctl list-units --plain --no-legend --state=active,activating,reloading $(printf '%s.service ' $UNITS) |
        while read -r unit _; do
            systemctl restart "$unit" || echo "slipstream-job: $unit did not start again; see: systemctl status $unit" >&2
        done
}

stop_units() {
    has_systemd || return 0
    systemctl stop $(printf '%s.service ' $UNITS) || true
}

purge() {
    rm -rf /var/lib/slipstream /var/log/slipstream
    userdel slipstream 2>/dev/null || true
    groupdel slipstream 2>/dev/null || true
}
