# Keeps a device busy until the host takes it away, then uses it again when it is back.
dmesg -n 7
load_bus
load uio uio_hv_generic
echo "b7f3a1c2-5d64-4e0f-9a38-c0ffee000001" >/sys/bus/vmbus/drivers/uio_hv_generic/new_id
await 60 test -c /dev/uio0
ring_bytes=$(cat /sys/class/uio/uio0/maps/map0/size)
ring-tool /dev/uio0 $ring_bytes load "again and again" &
sleep 1
echo "GUEST: take it away"
wait
no_device() { ! ls /sys/bus/vmbus/devices/* >/dev/null 2>&1; }
await 60 no_device && echo "GUEST: no device is left"
echo "GUEST: bring it back"
any_uio() { ls /dev/uio*; }
await 60 any_uio
ring-tool "$(ls /dev/uio* | head -n 1)" $ring_bytes ping "back again"
