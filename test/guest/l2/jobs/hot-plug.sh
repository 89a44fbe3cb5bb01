# A disk is added while we run, and taken away while we read it.
dmesg -n 7
load_bus
load_disk
await 20 test -b /dev/sda
echo "GUEST: add a disk"
await 20 test -b /dev/sdb && echo "GUEST: the second disk is here"
ls /sys/bus/vmbus/devices | sed 's/^/GUEST: device /'
while dd if=/dev/sdb of=/dev/null bs=64k count=512 2>/dev/null; do :; done &
sleep 1
echo "GUEST: remove it"
no_second_disk() { ! test -b /dev/sdb; }
await 20 no_second_disk && echo "GUEST: the second disk is gone"
ls /sys/bus/vmbus/devices | sed 's/^/GUEST: device left /'
mount -t ext4 /dev/sda /mnt && (cd /mnt && sha256sum -c sums.txt)
umount /mnt
