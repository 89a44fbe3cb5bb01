# Finds the bus and the disk, checks 64 MiB, writes, lets go of it.
dmesg -n 7
load_bus
load_disk
await 60 test -b /dev/sda
for device in /sys/bus/vmbus/devices/*; do
  echo "GUEST: device $(basename $device) class $(cat $device/class_id) driver $(basename "$(readlink $device/driver)")"
done
echo "GUEST: disk $(cat /sys/block/sda/device/vendor /sys/block/sda/device/model /sys/block/sda/size | tr '\n' ' ')"
mount -t ext4 /dev/sda /mnt && echo "GUEST: mounted"
cat /mnt/hello.txt
(cd /mnt && sha256sum -c sums.txt)
# Each processor reads, so that each uses the channel that is its own.
for cpu in $(seq 0 $(($(nproc) - 1))); do
  taskset $((1 << cpu)) dd if=/dev/sda of=/dev/null bs=64k count=64 skip=$((cpu * 64)) iflag=direct 2>/dev/null &
done
wait
for channel in /sys/bus/vmbus/devices/*/channels/*; do
  echo "GUEST: channel $(basename $channel) number $(cat $channel/subchannel_id) interrupts $(cat $channel/interrupts)"
done
echo "written by the guest" >/mnt/written.txt
dd if=/mnt/random.bin of=/mnt/copy.bin bs=1M count=16 2>/dev/null
sync
umount /mnt && echo "GUEST: unmounted"
