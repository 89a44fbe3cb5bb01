# Binds uio_hv_generic to a device class of the host's own, talks to it, then scribbles over its rings.
dmesg -n 7
load_bus
load_disk
load uio uio_hv_generic
echo "b7f3a1c2-5d64-4e0f-9a38-c0ffee000001" >/sys/bus/vmbus/drivers/uio_hv_generic/new_id
await 60 test -c /dev/uio0
await 60 test -b /dev/sda
ring_bytes=$(cat /sys/class/uio/uio0/maps/map0/size)
echo "GUEST: rings $ring_bytes"
ring-tool /dev/uio0 $ring_bytes ping "hello device"
for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
  ring-tool /dev/uio0 $ring_bytes scribble $seed
done
ring-tool /dev/uio0 $ring_bytes ping "still there"
mount -t ext4 /dev/sda /mnt && (cd /mnt && sha256sum -c sums.txt)
umount /mnt
