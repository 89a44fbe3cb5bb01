#!/bin/busybox sh
# First process of the guest under test: mounts what every job needs, runs the job that the command line names, turns off.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/ttyS0

# load MODULE…: inserts those that are not built in.
load() {
  for module; do
    [ -f /mods/$module.ko ] || continue
    insmod /mods/$module.ko || echo "GUEST: insmod $module failed"
  done
}

# await SECONDS COMMAND…: until it succeeds.
await() {
  tries=$(($1 * 10))
  shift
  while [ $tries -gt 0 ]; do
    "$@" >/dev/null 2>&1 && return 0
    tries=$((tries - 1))
    sleep 0.1
  done
  echo "GUEST: gave up waiting for: $*"
  return 1
}

load_bus() { load hv_vmbus; }
load_disk() { load scsi_common scsi_mod scsi_transport_fc sd_mod hv_storvsc; }

job=$(sed -n 's/.*job=\([^ ]*\).*/\1/p' /proc/cmdline)
echo "GUEST: job $job on $(uname -r), $(nproc) cpu"
. /jobs/$job.sh
echo "GUEST: job $job done"
poweroff -f
