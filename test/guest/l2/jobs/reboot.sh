# First boot: writes a mark, unloads the bus once, then restarts the machine. Second boot: finds the mark.
dmesg -n 7
load_bus
load_disk
await 60 test -b /dev/sda
mount -t ext4 /dev/sda /mnt
if [ -f /mnt/booted.txt ]; then
  echo "GUEST: second boot, found: $(cat /mnt/booted.txt)"
  umount /mnt
else
  echo "first boot" >/mnt/booted.txt
  sync
  umount /mnt
  rmmod hv_storvsc && rmmod hv_vmbus && echo "GUEST: bus unloaded"
  load_bus
  load hv_storvsc
  await 60 test -b /dev/sda && echo "GUEST: bus loaded again"
  reboot -f
fi
